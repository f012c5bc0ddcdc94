"""The state of all flows and the results of a step and of a run: immutable structs of tensors, no dynamics.

Shapes: `B` samples, `F` rows (live flows over the whole batch), `S` sites, `C` energy channels, `L` layers and
`N` hidden size of the GRU, `K` children, `T` steps, `R` trace records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .constants import wide_dtype

if TYPE_CHECKING:
    from .energy_lattice import EnergyLattice

# What became of a flow in a step.
MOVING, ARRIVED, FADED = 0, 1, 2
# Trace events: the three outcomes, and the two ways in which a flow begins.
LAUNCHED, BORN = 3, 4
EVENT_NAMES = ("moving", "arrived", "faded", "launched", "born")


PER_SAMPLE = ("next_id", "entered")  # fields of `Flows` that have a row for each sample, not for each flow
PER_RUN = (*PER_SAMPLE, "hidden", "aim")  # those that are not joined and cut as the others are


class Flows(NamedTuple):
    """All flows of a batch, one row each, and what belongs to the samples."""

    energy: Tensor  # (F, C)
    mass: Tensor  # (F,)  in (0, 1]; no gradient
    position: Tensor  # (F, 3)  cells; x, y, z
    hidden: Tensor  # (L, F, N)
    sample: Tensor  # (F,)  int64, row of the batch
    flow_id: Tensor  # (F,)  int64, unique in the sample
    parent_id: Tensor  # (F,)  int64, -1 at launch
    age: Tensor  # (F,)  int64, steps since launch or birth
    origin: Tensor  # (F,)  int64, the site where the flow, or the first of its ancestors, was launched
    next_id: Tensor  # (B,)  int64, the id of the sample's next child
    entered: Tensor  # (B, S, C)  the energy that entered at each site
    aim: Tensor | None = None  # (F, S)  of flows that have just arrived by a pointer: what it gives to each site

    @property
    def size(self) -> int:
        """F, rows over the whole batch."""
        return self.mass.shape[0]

    @property
    def batch(self) -> int:
        """B, samples, those without a live flow included."""
        return self.next_id.shape[0]

    @property
    def level(self) -> Tensor:
        """(F,) RMS of the energy, dimensionless; 1.0 is the mean level at launch."""
        return level_of(self.energy)

    def entered_at(self, site: Tensor) -> Tensor:
        """(F,) int64 a site for each flow to (F, C): the energy that entered there, in the flow's own sample."""
        return self.entered.flatten(0, 1).index_select(0, self.sample * self.entered.shape[1] + site)

    def rows(self, index: Tensor, hidden: Tensor | None = None) -> Flows:
        """The flows of some rows, in the order of `index` (int64); `hidden` where their states are at hand already.

        What they aimed at is left behind: who lives on has not arrived.
        """
        return Flows(
            energy=self.energy.index_select(0, index),
            mass=self.mass.index_select(0, index),
            position=self.position.index_select(0, index),
            hidden=self.hidden.index_select(1, index) if hidden is None else hidden,
            sample=self.sample.index_select(0, index),
            flow_id=self.flow_id.index_select(0, index),
            parent_id=self.parent_id.index_select(0, index),
            age=self.age.index_select(0, index),
            origin=self.origin.index_select(0, index),
            next_id=self.next_id,
            entered=self.entered,
        )

    def join(self, other: Flows, hidden: Tensor) -> Flows:
        """These rows, then those of `other`, with the counters `next_id` of `other`.

        Args:
            other: rows of the same samples.
            hidden: (L, F, N) the states of all rows together.
        """
        joined = {
            name: torch.cat((getattr(self, name), getattr(other, name)))
            for name in Flows._fields
            if name not in PER_RUN
        }
        return Flows(**joined, hidden=hidden, next_id=other.next_id, entered=other.entered)

    def since(self, row: int) -> Flows:
        """The rows from `row` on, as views."""
        parts = {name: getattr(self, name)[row:] for name in Flows._fields if name not in PER_RUN}
        return Flows(**parts, hidden=self.hidden[:, row:], next_id=self.next_id, entered=self.entered)


def level_of(energy: Tensor) -> Tensor:
    """RMS over the channels: (..., C) -> (...), in float32 at least.

    It decides and is reported; no gradient flows through it.
    """
    return torch.linalg.vector_norm(energy.detach(), dim=-1, dtype=wide_dtype(energy.dtype)) / energy.shape[-1] ** 0.5


class LatticeState(NamedTuple):
    """What the neurons may perceive: where each flow stands and what all flows hold per site column.

    Energies are means by mass with the rule of the output face, `sum(e) / max(1, sum(m))`.
    """

    site: Tensor  # (F,)  int64, the flow's site column
    sample: Tensor  # (F,)  int64
    mass: Tensor  # (F,)
    age: Tensor  # (F,)  int64, steps since launch or birth
    columns: Tensor  # (B, S, C + 1)  mean energy and mass of every site column
    whole: Tensor  # (B, C + 1)  mean energy of the sample and its mass per site
    entered: Tensor  # (B, S, C)  the energy that entered at each site
    lattice: EnergyLattice  # the geometry


class Place(NamedTuple):
    """What a carrier knows of where its flows stand."""

    position: Tensor  # (F, 3)  cells
    lattice: EnergyLattice  # the geometry
    toward: Tensor | None = None  # (F, C)  the energies that theirs relax towards, with a rule that has them


class Arrivals(NamedTuple):
    """What reached the output face, one row per flow."""

    energy: Tensor  # (A, C)
    mass: Tensor  # (A,)
    position: Tensor  # (A, 3)  cells; x and y are continuous
    sample: Tensor  # (A,)  int64
    aim: Tensor | None = None  # (A, S)  with a pointer: what it gives to each site


class Counts(NamedTuple):
    """What happened in a step, over the whole batch, as plain numbers."""

    moving: int  # flows that are still inside the lattice
    arrived: int  # flows that reached the output face
    faded: int  # flows that fell below the energy threshold
    born: int  # children that started


class Decisions(NamedTuple):
    """What carriers and the budget decided for the flows of a step; no gradient flows through it."""

    gate: Tensor | None  # (F, C)  share of the energy that the carrier let a flow keep; NaN where it had no say
    shares: Tensor | None  # (F, K)  of its energy and mass, that a flow gave to children that started; 0 to others
    refused: Tensor | None  # (F, K)  likewise, that it would have given to children that the budget refused


class StepResult(NamedTuple):
    """One step: who lives on, and what became of everyone."""

    flows: Flows  # live after the step: those still inside the lattice, then the newborn
    moved: Flows  # all rows of the step, after it, in the order in which they came
    outcome: Tensor  # (F,)  int64: MOVING, ARRIVED or FADED, for each row of `moved`
    level: Tensor  # (F,)  of each row of `moved`
    refused: Tensor  # (B,)  int64, children that the budget refused
    counts: Counts
    coasted: Tensor | None = None  # (F,) bool, rows that went ahead without neuron and carrier; None is nobody
    decided: Decisions | None = None  # where a trace records it

    @property
    def children(self) -> Flows:
        """Those that started in this step, in the cell that their parent left."""
        return self.flows.since(self.flows.size - self.counts.born)

    @property
    def arrivals(self) -> Arrivals:
        """Those that reached the output face in this step."""
        if self.counts.arrived == self.moved.size:
            return Arrivals._make(getattr(self.moved, name) for name in Arrivals._fields)
        index = rows_where(self.outcome == ARRIVED, self.counts.arrived)
        parts = (getattr(self.moved, name) for name in Arrivals._fields)
        return Arrivals._make(None if part is None else part.index_select(0, index) for part in parts)


def rows_where(mask: Tensor, count: int) -> Tensor:
    """(count,) int64 the rows of a mask (F,) that are true, whose number is known: without waiting for the device."""
    if mask.device.type == "mps":  # has no nonzero_static
        return mask.nonzero().squeeze(1)
    return torch.nonzero_static(mask, size=count).squeeze(1)


class FlowStatistics(NamedTuple):
    """Counts per step and sample, and figures per sample; no gradient flows through them."""

    live: Tensor  # (T, B)  int64, flows that took the step
    coasted: Tensor  # (T, B)  int64, of them, those that went ahead without neuron and carrier
    mean_level: Tensor  # (T, B)  their mean level after it, 0 where none took it
    arrived: Tensor  # (T, B)  int64, reached the output face
    faded: Tensor  # (T, B)  int64, fell below the energy threshold
    spawned: Tensor  # (T, B)  int64, children that started
    refused: Tensor  # (T, B)  int64, children that the budget refused
    launched: Tensor  # (B,)  int64
    arrived_mass: Tensor  # (B,)  of the launched mass (S), what reached the output face
    faded_mass: Tensor  # (B,)  of the launched mass, what faded
    faded_energy: Tensor  # (B, C)  the energy that was lost with the faded flows
    path_length: Tensor  # (B,)  mean steps from launch to arrival, a child's with its parent's; 0 where none arrived
    coverage: Tensor  # (B,)  share of the sites of the output face that received mass

    @property
    def steps(self) -> int:
        """T, steps of the run."""
        return self.live.shape[0]

    @property
    def flow_steps(self) -> Tensor:
        """() int64, rows over all steps and samples that neuron and carrier worked on: the unit of work."""
        return (self.live - self.coasted).sum()

    @property
    def arrived_share(self) -> Tensor:
        """(B,) share of all flows (launched and born) that reached the output face."""
        return self.arrived.sum(0) / (self.launched + self.spawned.sum(0))


class FlowTrace(NamedTuple):
    """Every flow at every step, one record each, in order of time."""

    step: Tensor  # (R,)  int64, steps of the run before this record; 0 is the launch
    sample: Tensor  # (R,)  int64
    flow_id: Tensor  # (R,)  int64
    parent_id: Tensor  # (R,)  int64, -1 at launch
    position: Tensor  # (R, 3)  cells
    level: Tensor  # (R,)
    mass: Tensor  # (R,)
    event: Tensor  # (R,)  int64: MOVING, ARRIVED, FADED, LAUNCHED or BORN
    energy: Tensor | None = None  # (R, C)  with record="energy"
    gate: Tensor | None = None  # (R, C)  with record="gate": of the step before, see `Decisions`; NaN as a flow begins
    shares: Tensor | None = None  # (R, K)  with record="children": of the step before; 0 as a flow begins
    refused: Tensor | None = None  # (R, K)  likewise


class Prelude(NamedTuple):
    """Steps that a run takes before its own, without gradient."""

    steps: int
    embeddings: Tensor  # (B, E)  what has entered until they are over


class FlowResult(NamedTuple):
    """What a run gives."""

    output: Tensor  # (B, E)  the output embeddings
    stats: FlowStatistics
    trace: FlowTrace | None  # with record=True
    aim_entropy: Tensor | None = None  # ()  with a pointer: mean entropy of the arrivals' aims, in nats
    along: Tensor | None = None  # (R, B, E)  with along: what was read after each of the last steps, `output` the last
