"""One run's way through the steps: which form each part takes, and what the run knows of its flows.

Shapes: `B` samples, `F` rows, `S` sites, `C` energy channels, `H` the neuron's hidden width, `L` layers, `N` hidden
size, `K` children.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..energy_carrier import CarrierOutput, EnergyCarrier
from ..energy_lattice import EnergyLattice
from ..flows import ARRIVED, MOVING, Counts, Flows, LatticeState, Place, rows_where
from ..simple_neuron import SimpleNeuron
from .acting import Settle
from .dense import FusedForms, Update, call_modules, compiled_update, gathered_layer, while_it_compiles
from .entry import numbers_of, transforms_active
from .first_layer import FEW, FirstLayer, layout_of, recalled_product
from .plan import Execution
from .pool import FlowPool
from .regroup import RegroupHidden, Regrouping, group_rows
from .weights import is_own, take_weights

LATTICE_METHODS = {"perceive", "settle", "site_of", "at_output", "mean_of_sample", "sum_per_site"}


class Executor:
    """Runs the parts of a step as an `Execution` says; made for one run, or for one step by hand.

    It remembers two facts about the flows of the last step: their hidden states are zeros, as at launch; everyone
    stands at its launch site, in the order of the launch. Flows from elsewhere are taken as they come, with the same
    result to rounding. In a run without gradients, hidden states are advanced in place (`FlowPool`).

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
        self._transformed = transforms_active()  # then torch's own operations alone
        fused = execution.fused and not self._transformed
        self._own_lattice = fused and type(lattice) is EnergyLattice and not set(vars(lattice)) & LATTICE_METHODS
        self._forms = (
            FusedForms(neuron, carrier, take_weights(neuron, carrier)) if fused and is_own(neuron, carrier) else None
        )
        self._sizes: frozenset[int] | None = None
        self._pool: FlowPool | None = None
        self._at_rest: Tensor | None = None  # the hidden states that are known to be zeros
        self._at_home: Flows | None = None  # flows that are known to stand at home, in the order of the launch
        self._home: Tensor | None = None  # (F, 2) where they stand
        self._was_home = False  # those of the step that is being taken
        self._recalled: tuple[Tensor, Tensor | None] | None = None  # what entered, and what it gives to the first layer

    def begin(self, launched: Flows, as_written: bool) -> None:
        """A run begins.

        Args:
            launched: its flows.
            as_written: `EnergyLattice.place_initial_energy` made them, and nobody changed them.
        """
        if self.how.graphed:
            torch.compiler.cudagraph_mark_step_begin()  # graphs may use the memory of the last run again
        if not as_written or "place_initial_energy" in vars(self.lattice):
            return
        if type(self.lattice).place_initial_energy is not EnergyLattice.place_initial_energy:
            return
        self._at_rest = launched.hidden
        if self._own_lattice:
            self._home, self._at_home = launched.position[:, :2], launched
        if self.how.row_bucket > 1:
            return  # what is padded is cut, and is the pool's no more
        if self._forms is not None and not torch.is_grad_enabled() and not self.how.compiled:
            most = max(launched.size, launched.batch * self.lattice.config.max_active_flows)
            self._pool = FlowPool(self._forms.weights.layers, self.how.padded(most))

    def update(self, flows: Flows) -> Update:
        """Perceive, neuron and carrier: the carrier's output, and the hidden states after the step."""
        self._was_home = flows is self._at_home
        if self._forms is None or self.how.compiled:
            return self._update_rows(flows)
        hidden = None if flows.hidden is self._at_rest else flows.hidden
        in_pool = self._pool is not None and (hidden is None or self._pool.holds(hidden))
        first, more = self._first_layer(flows)
        toward = self._toward(flows)
        if in_pool:
            assert self._pool is not None
            step: Any = partial(self._pool.step, at_rest=hidden is None)
            run, states = partial(self._forms.in_pool, step), None
        else:
            run, states = self._forms.from_first_layer, hidden
        energy, position, toward, states = _pad(more, flows.energy, flows.position, toward, states)
        place = Place(position, self.lattice, toward)
        return _cut(more, *self._keep_or_not(lambda *inputs: run(first(), *inputs), energy, place, states))

    def update_some(self, flows: Flows, state: LatticeState, awake: Tensor) -> Update:
        """Perceive, neuron and carrier of some flows; the others go ahead as they are, by the stride of an untrained
        path, and start no child.

        Args:
            flows: all.
            state: what all of them hold.
            awake: (F,) bool.
        """
        self._was_home, self._pool = flows is self._at_home, None
        rows = rows_where(awake, numbers_of(awake.sum().unsqueeze(0))[0])
        some = flows.rows(rows)
        seen = state._replace(site=state.site[rows], sample=some.sample, mass=some.mass, age=some.age)
        features = self.neuron.compute_features(some.position, some.energy, seen)
        place = Place(some.position, self.lattice, toward_of(self.carrier, some, seen.site))
        if self._forms is None or self.how.compiled:
            output, hidden = call_modules(self.neuron, self.carrier, features, some.energy, place, some.hidden)
        else:
            first = gathered_layer(features, self._forms.weights)
            output, hidden = self._forms.from_first_layer(first, some.energy, place, some.hidden)
        hidden = flows.hidden.to(hidden.dtype).index_copy(1, rows, hidden)
        return self._among_all(flows, rows, output), hidden

    def _among_all(self, flows: Flows, rows: Tensor, output: CarrierOutput) -> CarrierOutput:
        """The output for some rows, with the others' between: ahead as they are, and no child."""
        ahead = flows.position.clone()
        ahead[:, 2] += self.lattice.stride
        none = output.spawn_shares.new_zeros(flows.size, output.spawn_shares.shape[1])
        nothing = output.spawn_energies.new_zeros(flows.size, *output.spawn_energies.shape[1:])
        others = CarrierOutput(flows.energy, ahead, nothing, none, (none - 1).to(output.spawn_levels.dtype))
        found = [one.index_copy(0, rows, own) for one, own in zip(others[:5], output[:5], strict=True)]
        aim = output.aim
        if aim is not None:
            aim = aim.new_zeros(flows.size, aim.shape[1]).index_copy(0, rows, aim)  # who coasts does not arrive
        return CarrierOutput(*found)._replace(aim=aim)

    def renamed(self, flows: Flows, changed: Flows) -> Flows:
        """The same flows with other energies or another entry: what is known of them stays known."""
        if flows is self._at_home:
            self._at_home = changed
        return changed

    def stand_at_home(self, flows: Flows) -> bool:
        """Whether it is known that nobody died, was born or left home since the launch."""
        return flows is self._at_home

    def settle(self, position: Tensor) -> Tensor:
        """As `EnergyLattice.settle`."""
        if not self._own_lattice or self.how.compiled:
            return self.lattice.settle(position)
        settled = Settle.apply(position, self.lattice)
        assert isinstance(settled, Tensor)
        return settled

    def count(self, moved: Flows, outcome: Tensor, accepted: Tensor) -> tuple[Regrouping | None, Counts]:
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
        if self._was_home:
            marks.append((moved.position[:, :2] != self._home).sum())
        numbers = numbers_of(torch.stack(marks))
        survivors, arrived = numbers[:2]
        born = numbers[2] if accepted.shape[1] else 0
        unchanged = survivors == moved.size and not born
        self._at_home = moved if self._was_home and unchanged and not numbers[-1] else None
        counts = Counts(survivors, arrived, moved.size - survivors - arrived, born)
        return (None if unchanged else group_rows(moving, accepted, survivors, born)), counts

    def regroup(self, hidden: Tensor, group: Regrouping) -> Tensor:
        """(L, F, N) states after the step to (L, A + M, N), those of survivors, then newborn."""
        if self._pool is not None and self._pool.holds(hidden):
            return self._pool.regroup(group, self.carrier.child_offset)
        if self._forms is None:
            gather_sharded(self.carrier)
            newborn = self.carrier.child_states(hidden.index_select(1, group.parent), group.child)
            return torch.cat((hidden.index_select(1, group.stay), newborn), dim=1)
        after = RegroupHidden.apply(hidden, self.carrier.child_offset, group)
        assert isinstance(after, Tensor)
        return after

    def _first_layer(self, flows: Flows) -> tuple[Callable[[], Tensor], int]:
        """What computes the neuron's first layer, and how many rows of padding its result has.

        By tables while there are about as many flows as sites; with fewer, and where rows are padded, over a row of
        features for every flow: work follows the live flows.
        """
        assert self._forms is not None
        weights, columns = self._forms.weights, self._forms.columns
        more = self.how.padded(flows.size) - flows.size
        few = flows.size < FEW * flows.batch * self.lattice.config.num_sites
        if more or few or columns is None or not self._own_lattice:
            return lambda: gathered_layer(_pad(more, self._features(flows))[0], weights), more
        layout = layout_of(columns, self.lattice, self.neuron, flows, self._was_home)
        recalled = self._recalled_product(flows, weights.perceive, columns)
        inputs = (flows.energy, flows.position, weights.perceive, weights.perceive_bias, recalled, layout)
        return lambda: FirstLayer.apply(*inputs), 0  # type: ignore[return-value]

    def _recalled_product(self, flows: Flows, weight: Tensor, columns: dict[str, slice]) -> Tensor | None:
        """What entered, multiplied once for all steps."""
        if self._recalled is None or self._recalled[0] is not flows.entered:
            self._recalled = flows.entered, recalled_product(flows.entered, weight, columns)
        return self._recalled[1]

    def _toward(self, flows: Flows) -> Tensor | None:
        """What the energies relax towards, with a rule that has it."""
        return toward_of(self.carrier, flows, None if self._was_home else self.lattice.site_of(flows.position))

    def _features(self, flows: Flows) -> Tensor:
        return self.neuron.compute_features(flows.position, flows.energy, self.lattice.perceive(flows))

    def _update_rows(self, flows: Flows) -> Update:
        """By the compiler, or by the modules as they are, over a row of features for every flow."""
        at_rest = flows.hidden is self._at_rest and self._forms is not None
        features = self._features(flows)
        more = self.how.padded(flows.size, self._sizes_of_weights(features.shape[1])) - flows.size
        states = None if at_rest else flows.hidden
        rows = features, flows.energy, flows.position, self._toward(flows), states
        features, energy, position, toward, states = _pad(more, *rows)
        place = Place(position, self.lattice, toward)
        if not self.how.compiled or self._transformed:
            run = partial(call_modules, self.neuron, self.carrier)
        else:
            let_rows_vary(features, energy, position, states, toward)
            weights = None if self._forms is None else self._forms.weights
            graphed, on_failure = self.how.graphed, self.how.on_failure
            form = while_it_compiles.form(graphed, on_failure) if on_failure else compiled_update(graphed)
            run = partial(form, self.neuron, self.carrier, weights)
        return _cut(more, *self._keep_or_not(run, features, energy, place, states))

    def _sizes_of_weights(self, perceived: int) -> frozenset[int]:
        """Every size that the dense part has beside its rows."""
        if not self.how.compiled:
            return frozenset()
        if self._sizes is None:
            weights = (*self.neuron.parameters(), *self.carrier.parameters())
            sizes = {size for weight in weights for size in weight.shape}
            self._sizes = frozenset(sizes | {perceived, self.carrier.config.energy_dim, self.lattice.config.num_sites})
        return self._sizes

    def _keep_or_not(self, run: Any, *arguments: Any) -> Update:
        if self.how.checkpointed and torch.is_grad_enabled() and not self._transformed:
            return checkpoint(run, *arguments, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]
        return run(*arguments)


def toward_of(carrier: nn.Module, flows: Flows, site: Tensor | None) -> Tensor | None:
    """(F, C) what the energies relax towards; None where the carrier has no rule for that.

    Args:
        carrier: the carrier, perhaps one of the user's own.
        flows: those that take the step.
        site: (F,) int64 where they stand, or None, as for `EnergyRule.toward`.
    """
    rule = getattr(carrier, "rule", None)
    return rule.toward(flows, site) if rule is not None and rule.relaxes else None


def gather_sharded(carrier: nn.Module) -> None:
    """Bring the carrier's weights together where FSDP2 has sharded it: the children's offset is used after its forward
    pass. They are sharded again after the next one.
    """
    unshard = getattr(carrier, "unshard", None)
    if unshard is not None:
        unshard()


def let_rows_vary(
    features: Tensor, energy: Tensor, position: Tensor, hidden: Tensor | None, toward: Tensor | None
) -> None:
    """Tell the compiler that the number of rows is a variable, so that it compiles once for all."""
    for rows in (features, energy, position, *([] if toward is None else [toward])):
        torch._dynamo.mark_dynamic(rows, 0)
    if hidden is not None:
        torch._dynamo.mark_dynamic(hidden, 1)


def _pad(more: int, *rows: Any) -> Any:
    """Rows (F, ...), and states (L, F, N) or None, with so many rows of zeros more."""
    return [one if one is None or not more else F.pad(one, (0, 0, 0, more)) for one in rows]


def _cut(more: int, output: CarrierOutput, hidden: Tensor) -> Update:
    """An update without its last rows."""
    if not more:
        return output, hidden
    return CarrierOutput(*(None if part is None else part[:-more] for part in output)), hidden[:, :-more]  # type: ignore
