"""One run's way through the steps: which form each part takes, and what the run knows of its flows.

Shapes: `B` samples, `F` rows, `S` sites, `C` energy channels, `L` layers, `N` hidden size, `K` children.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..energy_carrier import CarrierOutput, EnergyCarrier
from ..energy_lattice import EnergyLattice
from ..flows import ARRIVED, MOVING, Counts, Flows, LatticeState
from ..perceived import Seen
from ..simple_neuron import SimpleNeuron
from .dense import (
    Update,
    call_modules,
    carrier_inputs,
    compiled_update,
    first_layer,
    fused_update,
    gathered_layer,
)
from .entry import numbers_of, transforms_active
from .gru_step import Gelu
from .plan import Execution
from .pool import FlowPool
from .regroup import Regrouping, RegroupHidden, group_rows
from .weights import DenseWeights, is_own, take_weights


class Executor:
    """Runs the parts of a step as an `Execution` says; made for one run, or for one step by hand.

    It remembers which flows it gave out last, and two facts about them: their hidden states are zeros, as at launch;
    everyone stands at its launch site, in the order of the launch. Flows from elsewhere are taken as they come, with the
    same result to rounding.

    Args:
        lattice: the geometry.
        neuron: the shared neuron.
        carrier: the shared carrier.
        execution: how.
    """

    def __init__(
        self, lattice: EnergyLattice, neuron: SimpleNeuron, carrier: EnergyCarrier, execution: Execution
    ) -> None:
        self.lattice, self.neuron, self.carrier, self.how = lattice, neuron, carrier, execution
        self._watched = transforms_active()  # then torch's own operations alone
        fused = execution.fused and not self._watched and is_own(neuron, carrier)
        self._weights: DenseWeights | None = take_weights(neuron, carrier) if fused else None
        self._pool: FlowPool | None = None
        self._at_rest: Tensor | None = None  # the hidden states that are known to be zeros
        self._at_home: Tensor | None = None  # the energies of flows that are known to stand in the order of the launch
        self._home: Flows | None = None

    def begin(self, launched: Flows) -> None:
        """A run begins with these flows, as `EnergyLattice.place_initial_energy` gave them."""
        if self.how.graphed:
            torch.compiler.cudagraph_mark_step_begin()  # graphs may use the memory of the last run again
        self._at_rest = launched.hidden
        if type(self.lattice) is EnergyLattice and not self._watched:
            self._home, self._at_home = launched, launched.energy
        if self._weights is not None and not torch.is_grad_enabled() and not self.how.compiled:
            most = max(launched.size, launched.batch * self.lattice.config.max_active_flows)
            self._pool = FlowPool(self._weights.layers, self.how.padded(most))

    def perceive(self, flows: Flows) -> LatticeState:
        """As `EnergyLattice.perceive`; where everyone stands at home there is nothing to add up."""
        if self._home is None or flows.energy is not self._at_home:
            return self.lattice.perceive(flows)
        held = torch.cat((flows.energy.to(flows.mass.dtype), flows.mass.unsqueeze(1)), dim=1)
        columns = held.view(flows.batch, -1, held.shape[1])
        return LatticeState(
            self._home.flow_id, flows.sample, flows.mass, flows.age, columns, self.lattice.mean_of_sample(columns)
        )

    def update(self, flows: Flows, state: LatticeState) -> Update:
        """Neuron and carrier: the carrier's output, and the hidden states after the step."""
        seen = Seen(flows.position, flows.energy, state)
        at_rest = flows.hidden is self._at_rest
        if self._weights is None or self.how.compiled or self.how.padded(flows.size) != flows.size:
            return self._update_padded(seen, flows.hidden, at_rest)
        in_order = flows.energy is self._at_home
        first = partial(self._first_layer, in_order=in_order)
        if self._pool is not None and (at_rest or self._pool.holds(flows.hidden)):
            return self._update_in_pool(first(seen), seen, at_rest)
        hidden = None if at_rest else flows.hidden
        return self._keep_or_not(lambda one, states: self._fused(first(one), one, states), seen, hidden)

    def count(
        self, moved: Flows, outcome: Tensor, accepted: Tensor
    ) -> tuple[Regrouping | None, Counts]:
        """What became of everyone, and the rows of the next step; None where they are those of this one.

        Args:
            moved: all rows after the step.
            outcome: (F,) int64.
            accepted: (F, K) bool, children that start.
        """
        moving = outcome == MOVING
        marks = [moving.sum(), (outcome == ARRIVED).sum()]
        if accepted.shape[1]:
            marks.append(accepted.sum())
        if self._at_home is not None and self._home is not None:
            marks.append((moved.position[:, :2] != self._home.position[:, :2]).sum())
        numbers = numbers_of(torch.stack(marks))
        survivors, arrived = numbers[:2]
        born = numbers[2] if accepted.shape[1] else 0
        counts = Counts(survivors, arrived, moved.size - survivors - arrived, born)
        unchanged = survivors == moved.size and not born
        at_home = unchanged and self._at_home is not None and not numbers[-1]
        self._at_home = moved.energy if at_home else None
        return (None if unchanged else group_rows(moving, accepted, survivors, born)), counts

    def regroup(self, hidden: Tensor, group: Regrouping) -> Tensor:
        """(L, F, N) states after the step to (L, A + M, N), those of survivors, then newborn."""
        if self._pool is not None and self._pool.holds(hidden):
            return self._pool.regroup(group, self.carrier.child_offset)
        if self._weights is None:
            parents = hidden.index_select(1, group.parent)
            newborn = self.carrier.child_states(parents, group.child)
            return torch.cat((hidden.index_select(1, group.stay), newborn), dim=1)
        after = RegroupHidden.apply(hidden, self.carrier.child_offset, group)
        assert isinstance(after, Tensor)
        return after

    def _first_layer(self, seen: Seen, in_order: bool) -> Tensor:
        """(F, H), by tables while there are as many flows as sites: work follows the live flows."""
        assert self._weights is not None
        state = seen.state
        if len(state.site) < state.columns.shape[0] * state.columns.shape[1]:
            features = self.neuron.compute_features(seen.position, seen.energy, state)
            return gathered_layer(features, self._weights)
        return first_layer(self.neuron, seen, self._weights, in_order)

    def _fused(self, first: Tensor, seen: Seen, hidden: Tensor | None) -> Update:
        assert self._weights is not None
        return fused_update(self.carrier, self._weights, first, seen.energy, hidden, seen.position)

    def _update_in_pool(self, first: Tensor, seen: Seen, at_rest: bool) -> Update:
        assert self._weights is not None and self._pool is not None
        inputs = carrier_inputs(first, seen.energy, self._weights, Gelu.apply)
        states, top = self._pool.step(inputs, at_rest)
        return self.carrier.decide(top, seen.energy, seen.position), states

    def _update_padded(self, seen: Seen, hidden: Tensor, at_rest: bool) -> Update:
        """Over a row of features for every flow, padded where the execution asks for it."""
        features = self.neuron.compute_features(seen.position, seen.energy, seen.state)
        rows = features.shape[0]
        more = self.how.padded(rows) - rows
        energy, position = seen.energy, seen.position
        in_pool = self._pool is not None and (at_rest or self._pool.holds(hidden))
        states = None if self._weights is not None and (at_rest or in_pool) else hidden
        if more:
            features, energy, position = (F.pad(one, (0, 0, 0, more)) for one in (features, energy, position))
            states = None if states is None else F.pad(states, (0, 0, 0, more))
        output, after = self._run_rows(features, energy, states, position, in_pool, at_rest)
        if not more:
            return output, after
        return CarrierOutput(*(part[:rows] for part in output)), after[:, :rows]

    def _run_rows(
        self, features: Tensor, energy: Tensor, hidden: Tensor | None, position: Tensor, in_pool: bool, at_rest: bool
    ) -> Update:
        if self.how.compiled:
            let_rows_vary(features, energy, position, hidden)
            run = partial(compiled_update(self.how.graphed), self.neuron, self.carrier, self._weights)
        elif self._weights is None:
            run = partial(call_modules, self.neuron, self.carrier)
        elif in_pool:
            seen = Seen(position, energy, None)  # type: ignore[arg-type]
            return self._update_in_pool(gathered_layer(features, self._weights), seen, at_rest)
        else:
            first = gathered_layer(features, self._weights)
            run = partial(fused_update, self.carrier, self._weights)
            return self._keep_or_not(run, first, energy, hidden, position)
        return self._keep_or_not(run, features, energy, hidden, position)

    def _keep_or_not(self, run: Any, *arguments: Any) -> Update:
        if self.how.checkpointed and torch.is_grad_enabled() and not self._watched:
            return checkpoint(run, *arguments, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]
        return run(*arguments)


def let_rows_vary(features: Tensor, energy: Tensor, position: Tensor, hidden: Tensor | None) -> None:
    """Tell the compiler that the number of rows is a variable, so that it compiles once for all."""
    for rows in (features, energy, position):
        torch._dynamo.mark_dynamic(rows, 0)
    if hidden is not None:
        torch._dynamo.mark_dynamic(hidden, 1)
