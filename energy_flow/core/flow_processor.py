"""The step of all flows, and the one loop.

Shapes: `B` samples, `F` rows, `E` embedding width, `S` sites, `C` energy channels, `K` children.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from .dense_part import DensePart, Execution
from .embedding_mapper import EmbeddingMapper
from .energy_carrier import CarrierOutput, EnergyCarrier
from .energy_lattice import EnergyLattice
from .flow_pool import FlowPool
from .flows import ARRIVED, FADED, MOVING, FlowResult, Flows, StepResult
from .gru import LayerWeights
from .ledger import RunLedger
from .regroup import Regrouping, regroup
from .simple_neuron import SimpleNeuron
from .splitting import SplitPlan, plan_splits


class FlowProcessor(nn.Module):
    """The whole model: embedding in, flows through the lattice, embedding out.

    It builds the carrier and the mapper itself, so that one `state_dict` holds every parameter.

    Args:
        lattice: the geometry.
        neuron: the shared neuron.
        config: the configuration from which lattice and neuron were built.
    """

    def __init__(self, lattice: EnergyLattice, neuron: SimpleNeuron, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        self.lattice = lattice
        self.neuron = neuron
        self.carrier = EnergyCarrier(config)
        self.mapper = EmbeddingMapper(config)
        self.execute(Execution())
        self.limit_training_flows(config.max_active_flows)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, E in) embeddings to (B, E out) embeddings."""
        return self.run(embeddings).output

    def run(self, embeddings: Tensor, record: bool = False) -> FlowResult:
        """Send embeddings through the lattice.

        Args:
            embeddings: (B, E in), floating.
            record: keep the trace of every flow.

        Raises:
            ValueError: another shape or an integer dtype.
            FloatingPointError: a position is NaN, so its flow never arrives.
        """
        _check_input(embeddings, self.config.input_embedding_dim)
        self._dense.begin()
        flows = self.launch(embeddings)
        ledger, weights = RunLedger(flows, record), self.carrier.gru.weights()
        pool = self._dense.pool(flows.batch * self.config.max_active_flows, weights)
        for taken in range(self.config.max_steps):
            result = self._step(flows, weights, pool, at_rest=taken == 0)
            ledger.observe(result)
            flows = result.flows
            if not flows.size:
                break
        if flows.size:
            raise FloatingPointError(
                f"{flows.size} flows are still inside the lattice after {self.config.max_steps} steps, more than its "
                "depth allows: their positions are not finite; look for NaN in the input or the weights"
            )
        return self._gather(ledger, embeddings.shape[0])

    def execute(self, execution: Execution) -> None:
        """Choose how the dense part runs from now on."""
        self._dense = DensePart(self.neuron, self.carrier, execution)

    @property
    def execution(self) -> Execution:
        """How the dense part runs."""
        return self._dense.execution

    def limit_training_flows(self, flows: int) -> None:
        """Let at most so many flows live in a sample while the model trains (`train()`), down from `max_active_flows`.

        Raises:
            ValueError: fewer than are launched, or more than `max_active_flows`.
        """
        if not self.config.num_sites <= flows <= self.config.max_active_flows:
            raise ValueError(
                f"flows = {flows}; give a number from {self.config.num_sites}, the flows that are launched, up to "
                f"max_active_flows = {self.config.max_active_flows}"
            )
        self._training_flows = flows

    @property
    def most_flows(self) -> int:
        """Most flows that live at once in a sample."""
        return self._training_flows if self.training else self.config.max_active_flows

    def launch(self, embeddings: Tensor) -> Flows:
        """(B, E in) embeddings to the flows at the input face, one per site."""
        return self.lattice.place_initial_energy(self.mapper.to_sites(embeddings))

    def step(self, flows: Flows) -> StepResult:
        """Advance all flows of all samples by one step: perceive, update, split, move, fade, arrive.

        A pure function of `flows` and the weights; the order of the rows does not matter.
        """
        return self._step(flows, self.carrier.gru.weights(), None, at_rest=False)

    def _step(
        self, flows: Flows, weights: tuple[LayerWeights, ...], pool: FlowPool | None, at_rest: bool
    ) -> StepResult:
        """The step.

        Args:
            flows: those that take it.
            weights: of the GRU.
            pool: where the hidden states are, and change in place; None where the step is to be a pure function.
            at_rest: all hidden states are known to be zeros, as at launch.
        """
        state = self.lattice.perceive(flows)
        features = self.neuron.compute_features(flows.position, flows.energy, state)
        output, hidden = self._dense(features, flows.energy, None if at_rest else flows.hidden, weights, pool)
        plan = plan_splits(flows, output.spawn_levels, self.config, self.most_flows)
        kept = 1 - (output.spawn_shares * plan.accepted).sum(1)
        moved = flows._replace(
            energy=output.energy_value * kept.unsqueeze(1),
            mass=flows.mass * kept.detach(),
            position=self.lattice.advance(flows.position, output.next_position),
            hidden=hidden,
            age=flows.age + 1,
            next_id=flows.next_id + plan.started,
        )
        outcome = self._outcome(moved)
        live, born = self._next_rows(flows, moved, output, plan, regroup(outcome == MOVING, plan.accepted), pool)
        return StepResult(live, moved, outcome, live.since(live.size - born), plan.refused)

    def propagate_flow(self, flow: Flows, position: Tensor) -> Tensor | None:
        """Advance a single flow by one step, as if it were alone in the lattice.

        Args:
            flow: one row.
            position: (3,) cells, where the flow is.

        Returns:
            (3,) its new position, or None where it faded.
        """
        if flow.size != 1:
            raise ValueError(f"flow has {flow.size} rows; give one, or use step() for many")
        alone = flow._replace(position=position.view(1, 3), sample=flow.sample * 0, next_id=flow.next_id[:1])
        result = self.step(alone)
        return None if bool(result.outcome == FADED) else result.moved.position[0]

    def _next_rows(
        self,
        before: Flows,
        moved: Flows,
        output: CarrierOutput,
        plan: SplitPlan,
        group: Regrouping,
        pool: FlowPool | None,
    ) -> tuple[Flows, int]:
        """Those still inside the lattice, then the newborn in the cells that their parents left; how many these are."""
        if group.unchanged:
            return moved, 0
        hidden = self.carrier.hand_on(moved.hidden, group, pool)
        survivors, newborn = len(group.stay), len(group.parent)
        children = self.carrier.spawn(
            before.rows(group.parent, hidden[:, survivors:])._replace(next_id=moved.next_id),
            energy=output.spawn_energies[group.parent, group.child],
            share=output.spawn_shares[group.parent, group.child],
            flow_id=plan.flow_id[group.parent, group.child],
        )
        return moved.rows(group.stay, hidden[:, :survivors]).join(children, hidden), newborn

    def _outcome(self, moved: Flows) -> Tensor:
        outcome = torch.where(self.lattice.at_output(moved.position), ARRIVED, MOVING)
        return torch.where(moved.level < self.config.energy_threshold, FADED, outcome)

    def _gather(self, ledger: RunLedger, batch: int) -> FlowResult:
        arrivals = ledger.arrivals()
        energies, site_mass = self.lattice.collect_output_energy(arrivals, batch)
        return FlowResult(self.mapper.to_embedding(energies), ledger.statistics(arrivals, site_mass), ledger.trace())


def create_processor(config: EnergyConfig) -> FlowProcessor:
    """Build lattice, neuron and processor with the weights of `config.seed`; the global RNG is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return FlowProcessor(EnergyLattice(config), SimpleNeuron(config), config)


def _check_input(embeddings: Tensor, width: int) -> None:
    if embeddings.dim() != 2 or embeddings.shape[1] != width or embeddings.shape[0] == 0:
        raise ValueError(
            f"embeddings has shape {tuple(embeddings.shape)}; the model expects (rows, {width}) with at least one row"
        )
    if not embeddings.is_floating_point():
        raise ValueError(f"embeddings has dtype {embeddings.dtype}; convert them with .float()")
