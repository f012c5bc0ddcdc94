"""The step of all flows.

Shapes: `F` rows, `C` energy channels, `K` children.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .coasting import Coasting
from .energy_carrier import CarrierOutput
from .execution import Executor, gather_sharded
from .flows import ARRIVED, FADED, MOVING, Decisions, Flows, StepResult
from .interventions import Intervention, Moment
from .ledger import Detail
from .splitting import SplitPlan, keep_rest, plan_splits

if TYPE_CHECKING:
    from .flow_processor import FlowProcessor


class Step:
    """One step of all flows of all samples, made anew for every run.

    Args:
        processor: the model; its parts are looked up now.
        intervene: what is done otherwise.
        details: of a trace; what was decided is given for these.

    Raises:
        ValueError: a carrier of one's own has no gate, and it is to be recorded.
    """

    def __init__(
        self, processor: FlowProcessor, intervene: Sequence[Intervention] = (), details: Collection[Detail] = ()
    ) -> None:
        self.intervene, self.taken, self.details = intervene, 0, details
        self.config, self.most_flows = processor.config, processor.most_flows
        self.lattice, self.carrier = processor.lattice, processor.carrier
        self.noise = processor.config.energy_noise if processor.training else 0.0
        self.noise_source = processor.noise_source
        coast = 0.0 if processor.training else processor.config.coast
        pieces = getattr(processor.neuron, "pieces", None)  # a neuron of one's own may see anything
        sees_far = pieces is None or any(getattr(piece, "sees_far", False) for piece in pieces)
        self.coasting = Coasting(processor.lattice, coast, sees_far) if coast else None
        if "gate" in details and not hasattr(self.carrier, "gate"):
            raise ValueError(f"record has gate; {type(self.carrier).__name__} has no method gate(top)")
        self.executor = Executor(processor.lattice, processor.neuron, processor.carrier, processor.execution)

    def __call__(self, flows: Flows) -> StepResult:
        """Perceive, update, split, move, fade, arrive: state in, state out.

        `docs/physics.md` has the equations in this order. The order of the rows does not matter. A run without
        gradients advances hidden states in place, so the flows that came in have lost theirs; otherwise they are not
        changed.

        Args:
            flows: those that take the step.
        """
        flows = self._with_noise(flows) if self.noise else flows
        output, hidden, coasted = self._update(flows)
        if self.intervene:
            self.taken += 1
            output = self._decide_otherwise(flows, output)
        plan = plan_splits(flows, output.spawn_levels, self.config, self.most_flows)
        energy, mass = keep_rest(output.energy_value, flows.mass, output.spawn_shares, plan.accepted)
        decided = self._decisions(output, hidden, coasted, plan) if self.details else None
        moved = flows._replace(
            energy=energy,
            mass=mass,
            position=self.executor.settle(output.next_position),
            hidden=hidden,
            age=flows.age + 1,
            next_id=plan.next_id,
            aim=output.aim,
        )
        level = moved.level
        outcome = torch.where(self.lattice.at_output(moved.position), ARRIVED, MOVING)
        outcome = torch.where(level < self.config.energy_threshold, FADED, outcome)
        for one in self.intervene:
            outcome = one.land(Moment(self.taken, flows, self.lattice), moved, outcome)
        group, counts = self.executor.count(moved, outcome, plan.accepted)
        if group is None:
            return StepResult(moved, moved, outcome, level, plan.refused, counts, coasted, decided)
        hidden = self.executor.regroup(hidden, group)
        children = self.carrier.spawn(
            flows.rows(group.parent, hidden[:, counts.moving :])._replace(next_id=plan.next_id),
            energy=output.spawn_energies.flatten(0, 1).index_select(0, group.slot),
            share=output.spawn_shares.flatten().index_select(0, group.slot),
            flow_id=plan.flow_id.flatten().index_select(0, group.slot),
        )
        live = moved.rows(group.stay, hidden[:, : counts.moving]).join(children, hidden)
        return StepResult(live, moved, outcome, level, plan.refused, counts, coasted, decided)

    @torch.no_grad()
    def _decisions(self, output: CarrierOutput, hidden: Tensor, coasted: Tensor | None, plan: SplitPlan) -> Decisions:
        """What the details ask for; the gate is the carrier's own word, before any intervention."""
        gate = shares = refused = None
        if "gate" in self.details:
            gather_sharded(self.carrier)
            gate = self.carrier.gate(hidden[-1]).to(output.energy_value.dtype)
            gate = gate if coasted is None else gate.masked_fill(coasted.unsqueeze(1), torch.nan)
        if "children" in self.details:
            shares = output.spawn_shares * plan.accepted
            refused = output.spawn_shares * (plan.asked & ~plan.accepted)
        return Decisions(gate, shares, refused)

    def _decide_otherwise(self, flows: Flows, output: CarrierOutput) -> CarrierOutput:
        """The carriers' output after every intervention; what children would take along follows its energies."""
        before = output
        for one in self.intervene:
            output = one.decide(Moment(self.taken, flows, self.lattice), output)
        if any(one.moves for one in self.intervene):
            output = output._replace(aim=None)  # nobody knows what a flow that is sent elsewhere aims at
        if output.energy_value is before.energy_value and output.spawn_shares is before.spawn_shares:
            return output
        own = self.carrier.output_of(output.energy_value, output.next_position, output.spawn_shares, output.aim)
        return own._replace(spawn_levels=torch.where(own.spawn_shares > 0, own.spawn_levels, -1.0))

    def _with_noise(self, flows: Flows) -> Flows:
        like = {"device": flows.energy.device, "dtype": flows.energy.dtype}
        noise = torch.randn(flows.energy.shape, generator=self.noise_source, **like)
        noisy = flows._replace(energy=torch.add(flows.energy, noise, alpha=self.noise))
        return self.executor.renamed(flows, noisy)

    def _update(self, flows: Flows) -> tuple[CarrierOutput, Tensor, Tensor | None]:
        """Perceive, neuron and carrier of all flows, or of those that are awake, and who coasts."""
        if self.coasting is None:
            return *self.executor.update(flows), None
        state, awake = self.coasting.awake(flows)
        return *self.executor.update_some(flows, state, awake), ~awake
