"""The forward pass as one graph of fixed shapes, for `torch.export` and ONNX.

Every sample has a row for each flow that may live, rows of nobody are masked, and the steps are written one after the
other. It works `max_active_flows` rows and the largest number of steps whatever happens, and every flow in every step
whatever `coast` says: it is for deployment, not for speed.

Shapes: `B` samples, `M` rows of a sample, `F` = B M, `S` sites, `C` energy channels, `K` children, `L` layers, `N`
hidden size, `E` embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..energy_carrier import CarrierOutput
from ..energy_lattice import mean_by_mass
from ..flows import Flows, LatticeState, Place, level_of
from ..splitting import keep_rest

if TYPE_CHECKING:
    from ..flow_processor import FlowProcessor


class Slots(NamedTuple):
    """All rows of all samples, those of nobody included."""

    alive: Tensor  # (B, M) bool
    energy: Tensor  # (F, C)
    mass: Tensor  # (F,)
    position: Tensor  # (F, 3)
    hidden: Tensor  # (L, F, N)
    flow_id: Tensor  # (B, M) int64
    origin: Tensor  # (F,) int64
    newborn: Tensor  # (B, M) bool, started in the step before
    next_id: Tensor  # (B, 1) int64
    entered: Tensor  # (B, S, C)


class Starts(NamedTuple):
    """The children that start in a step, by the slot that each takes."""

    accepted: Tensor  # (F, K) bool, by parent
    takes: Tensor  # (B, M) bool, slots that a child takes
    parent: Tensor  # (B, M) int64, row of F of its parent
    child: Tensor  # (B, M) int64, which of its parent's children it is
    flow_id: Tensor  # (B, M) int64


class StaticForm(nn.Module):
    """A processor whose `forward` has fixed shapes; the numbers are those of `FlowProcessor.run` to rounding.

    Args:
        processor: the model.
        steps: steps that are written out; by default the most that its depth allows, which is always enough.
    """

    def __init__(self, processor: FlowProcessor, steps: int | None = None) -> None:
        super().__init__()
        self.processor = processor
        config = processor.config
        self.steps = config.max_steps if steps is None else steps
        if not config.can_split or config.max_spawn_per_step == 0:
            self.rows = config.num_sites
            self.steps = min(self.steps, config.lattice_depth - 1)  # without children z grows by 1 at least in each
        else:
            self.rows = config.max_active_flows

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, E in) embeddings to (B, E out) embeddings."""
        config = self.processor.config
        slots = self._launch(embeddings)
        arrived = slots.mass.new_zeros(embeddings.shape[0], config.num_sites, config.energy_dim + 1)
        for _ in range(self.steps):
            slots, reached = self._step(slots)
            arrived = arrived + reached
        return self.processor.mapper.to_embedding(mean_by_mass(arrived)[..., :-1])

    def _launch(self, embeddings: Tensor) -> Slots:
        flows, batch = self.processor.launch(embeddings), embeddings.shape[0]
        sites, more = self.processor.config.num_sites, self.rows - self.processor.config.num_sites
        hidden = flows.hidden.unflatten(1, (batch, sites))
        flow_id = F.pad(flows.flow_id.view(batch, sites), (0, more))
        return Slots(
            alive=F.pad(torch.ones_like(flows.flow_id, dtype=torch.bool).view(batch, sites), (0, more)),
            energy=F.pad(flows.energy.unflatten(0, (batch, sites)), (0, 0, 0, more)).flatten(0, 1),
            mass=F.pad(flows.mass.view(batch, sites), (0, more)).flatten(),
            position=F.pad(flows.position.unflatten(0, (batch, sites)), (0, 0, 0, more)).flatten(0, 1),
            hidden=F.pad(hidden, (0, 0, 0, more)).flatten(1, 2),
            flow_id=flow_id,
            origin=flow_id.flatten(),
            newborn=torch.zeros_like(flow_id, dtype=torch.bool),
            next_id=flows.next_id.unsqueeze(1),
            entered=flows.entered,
        )

    def _step(self, slots: Slots) -> tuple[Slots, Tensor]:
        """One step, and (B, S, C + 1) what reached each site of the output face in it."""
        processor, batch = self.processor, slots.alive.shape[0]
        lattice, neuron, config = processor.lattice, processor.neuron, processor.config
        alive = slots.alive.flatten()
        state = self._perceive(slots)
        signal = neuron(neuron.compute_features(slots.position, slots.energy, state))
        place = Place(slots.position, lattice, self._toward(slots, state))
        output, hidden = processor.carrier(signal, slots.energy, slots.hidden, place)
        starts = self._starts(slots, output)
        energy, mass = keep_rest(output.energy_value, slots.mass, output.spawn_shares, starts.accepted)
        position = lattice.settle(output.next_position)
        strong = alive & (level_of(energy) >= config.energy_threshold)
        there = lattice.at_output(position)
        reached = self._read(energy, mass, position, strong & there, state.sample, batch)
        moved = slots._replace(
            alive=(strong & ~there).view(batch, -1),
            energy=energy,
            mass=mass,
            position=position,
            hidden=hidden,
            newborn=torch.zeros_like(slots.newborn),
        )
        return self._with_children(slots, moved, output, starts), reached

    def _perceive(self, slots: Slots) -> LatticeState:
        lattice, (batch, rows) = self.processor.lattice, slots.alive.shape
        sample = torch.arange(batch, device=slots.mass.device).unsqueeze(1).expand(batch, rows).reshape(-1)
        site = lattice.site_of(slots.position)
        held = torch.cat((slots.energy.to(slots.mass.dtype), slots.mass.unsqueeze(1)), dim=1)
        held = torch.where(slots.alive.view(-1, 1), held, 0.0)
        sums = lattice.sum_per_site(held, sample, site, batch)
        age = (~slots.newborn).flatten().long()
        means = mean_by_mass(sums), lattice.mean_of_sample(sums)
        return LatticeState(site, sample, slots.mass, age, *means, slots.entered, lattice)

    def _toward(self, slots: Slots, state: LatticeState) -> Tensor | None:
        rule, flow_id = getattr(self.processor.carrier, "rule", None), slots.flow_id.flatten()
        if rule is None or not rule.relaxes:
            return None
        next_id, lost = slots.next_id.squeeze(1), torch.full_like(flow_id, -1)
        flows = Flows(
            energy=slots.energy,
            mass=slots.mass,
            position=slots.position,
            hidden=slots.hidden,
            sample=state.sample,
            flow_id=flow_id,
            parent_id=lost,
            age=state.age,
            origin=slots.origin,
            next_id=next_id,
            entered=slots.entered,
        )
        return rule.toward(flows, state.site)

    def _read(
        self, energy: Tensor, mass: Tensor, position: Tensor, arrives: Tensor, sample: Tensor, batch: int
    ) -> Tensor:
        lattice = self.processor.lattice
        sites, shares = lattice.reader(position)
        held = torch.cat((energy.to(mass.dtype), mass.unsqueeze(1)), dim=1)
        held = torch.where(arrives.unsqueeze(1), held, 0.0)
        parts = (held * shares.unsqueeze(2)).flatten(0, 1)
        return lattice.sum_per_site(parts, sample.repeat(sites.shape[0]), sites.flatten(), batch)

    def _starts(self, slots: Slots, output: CarrierOutput) -> Starts:
        """As `plan_splits`: the strongest first, ties by flow id, then by child; a child takes a free slot."""
        config, (batch, rows) = self.processor.config, slots.alive.shape
        children = config.max_children
        nobody = torch.zeros_like(slots.alive)
        if self.rows == config.num_sites:
            nothing = torch.zeros_like(output.spawn_shares, dtype=torch.bool)
            return Starts(nothing, nobody, slots.flow_id, slots.flow_id, slots.flow_id)
        free = ~slots.alive
        eligible = (output.spawn_levels >= 0).view(batch, rows, children)
        eligible = eligible & (slots.alive & ~slots.newborn).unsqueeze(2)
        strength = torch.where(eligible, output.spawn_levels.view(batch, rows, children), -1.0).flatten(1)
        order = slots.flow_id.unsqueeze(2) * children + torch.arange(children, device=free.device)
        rank = _rank(strength, order.flatten(1))
        entry = torch.zeros_like(rank).scatter(1, rank, torch.arange(rank.shape[1], device=rank.device).expand_as(rank))
        limit = free.sum(1, keepdim=True).clamp_max(config.max_spawn_per_step)
        started = torch.minimum(eligible.flatten(1).sum(1, keepdim=True), limit)
        accepted = (rank < started).view(batch * rows, children)
        slot_rank = free.long().cumsum(1) - 1
        takes = free & (slot_rank < started)
        taken = entry.gather(1, slot_rank.clamp(0, rows * children - 1))
        first_row = torch.arange(batch, device=taken.device).unsqueeze(1) * rows
        flow_id = slots.next_id + slot_rank
        return Starts(accepted, takes, first_row + taken // children, taken % children, flow_id)

    def _with_children(self, before: Slots, moved: Slots, output: CarrierOutput, starts: Starts) -> Slots:
        """Put the newborn into their slots, in the cells that their parents left."""
        if self.rows == self.processor.config.num_sites:
            return moved
        parent, child, takes = starts.parent.flatten(), starts.child.flatten(), starts.takes.flatten()
        slot = parent * self.processor.config.max_children + child
        share = output.spawn_shares.detach().flatten().index_select(0, slot)  # masses have no gradient
        states = self.processor.carrier.child_states(moved.hidden.index_select(1, parent), child)
        column = takes.unsqueeze(1)
        return Slots(
            alive=moved.alive | starts.takes,
            energy=torch.where(column, output.spawn_energies.flatten(0, 1).index_select(0, slot), moved.energy),
            mass=torch.where(takes, before.mass.index_select(0, parent) * share.to(moved.mass.dtype), moved.mass),
            position=torch.where(column, before.position.index_select(0, parent), moved.position),
            hidden=torch.where(column, states, moved.hidden),
            flow_id=torch.where(starts.takes, starts.flow_id, moved.flow_id),
            origin=torch.where(takes, before.origin.index_select(0, parent), moved.origin),
            newborn=starts.takes,
            next_id=moved.next_id + starts.takes.sum(1, keepdim=True),
            entered=moved.entered,
        )


def _rank(strength: Tensor, order: Tensor) -> Tensor:
    """(B, n) strengths to the rank of each in its sample, the strongest first, ties by `order` (B, n), then by place.

    Every pair is compared, since ONNX has no stable sort.
    """
    place = torch.arange(strength.shape[1], device=strength.device)
    stronger = strength.unsqueeze(1) > strength.unsqueeze(2)
    tied = strength.unsqueeze(1) == strength.unsqueeze(2)
    same = order.unsqueeze(1) == order.unsqueeze(2)
    earlier = (order.unsqueeze(1) < order.unsqueeze(2)) | (same & (place.unsqueeze(0) < place.unsqueeze(1)))
    return (stronger | (tied & earlier)).sum(2)
