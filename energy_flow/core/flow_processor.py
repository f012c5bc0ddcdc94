"""The one loop, and the model that holds the parts.

Shapes: `B` samples, `F` rows, `E` embedding width, `S` sites, `C` energy channels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ..config import Box, EnergyConfig
from ..sharing import HubModel
from .constants import seeded_start
from .embedding_mapper import EmbeddingMapper
from .energy_carrier import EnergyCarrier
from .energy_lattice import EnergyLattice
from .execution import Execution, StaticForm, as_rows, refuse_transforms
from .flows import Arrivals, FlowResult, Flows, Prelude, StepResult
from .interventions import Intervention
from .ledger import Record, RunLedger, details_of
from .readings import Readings
from .simple_neuron import SimpleNeuron
from .step import Step

KEPT_BOXES = 256  # whose tables are kept: a run with preludes uses as many


class FlowProcessor(HubModel):
    """The whole model: embedding in, flows through the lattice, embedding out.

    It builds the carrier and the mapper itself, so that one `state_dict` holds every parameter; their weights follow
    from `config.seed`.

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
        with seeded_start(config.seed, "carrier and faces") as device:
            self.carrier = EnergyCarrier(config)
            self.mapper = EmbeddingMapper(config)
        self.carrier.to(device)
        self.mapper.to(device)
        self.execution = Execution()
        self.noise_source: torch.Generator | None = None  # of `energy_noise`; None is torch's own
        self._lattices: dict[EnergyConfig, EnergyLattice] = {}  # of boxes other than the model's own
        self.limit_training_flows(config.max_active_flows)

    @classmethod
    def from_config(cls, config: EnergyConfig) -> Self:
        """Lattice, neuron and processor with the weights of `config.seed`; no global generator is touched."""
        return cls(EnergyLattice(config), SimpleNeuron(config), config)

    def forward(
        self,
        embeddings: Tensor,
        whole_result: bool = False,
        box: Box | str | None = None,
        along: float = 0.0,
        prelude: Prelude | None = None,
    ) -> Tensor | FlowResult:
        """(B, E in) embeddings to (B, E out) embeddings; `torch.export` sees the static form of the same.

        Args:
            embeddings: as for `run`.
            whole_result: give what `run` gives, its statistics too. A call sets off the hooks of the module, such as
                those of FSDP2; `run` does not.
            box: as for `run`, and so are the others.
            along: see there.
            prelude: see there.
        """
        if torch.compiler.is_exporting():
            if whole_result or box is not None or along or prelude is not None:
                raise ValueError("an exported model takes embeddings alone; for another box export model.in_box(box)")
            return StaticForm(self)(as_rows(embeddings, self.config, self.mapper.input_weight))
        result = self.run(embeddings, box=box, along=along, prelude=prelude)
        return result if whole_result else result.output

    def run(
        self,
        embeddings: Tensor,
        record: Record = False,
        box: Box | str | None = None,
        along: float = 0.0,
        prelude: Prelude | None = None,
        intervene: Sequence[Intervention] = (),
    ) -> FlowResult:
        """Send embeddings through the lattice.

        Args:
            embeddings: (B, E in), floating; a tensor or an array of any precision on any device. Site by site,
                (B, S, c), with faces that share one pair of matrices.
            record: keep the trace of every flow. With one or several of `energy`, `gate` and `children` it has more
                (`FlowTrace`): energies, the share of them that carriers let flows keep, what children took and were
                refused.
            box: a lattice of another size, in which the same weights work; see `in_box`.
            along: share of an untrained path, from its end, in which every step is read out too (`FlowResult.along`):
                flows that are still on their way count where they are, with all that has arrived. A run that ends
                early repeats its output, one that takes longer is not read in between.
            prelude: steps without gradient that are taken before, in a box that is deeper by as much. Then what has
                entered at the columns changes to the embeddings, and flows go on with the states that they have.
            intervene: what is done otherwise than the model would, one after the other (`core.interventions`); their
                steps count those of a prelude.

        Raises:
            ValueError: another shape or an integer dtype, of the prelude too; `along` is no share; `record` has what
                there is not; or an intervention does not fit the box or the batch.
            FloatingPointError: a position is NaN, so its flow never arrives.
            NotImplementedError: within `torch.vmap` or `torch.jit.trace`, which cannot follow flows that come and go.
        """
        intervene = _as_interventions(intervene)
        if box is not None and box != self.config.box:
            return self.in_box(box).run(embeddings, record, along=along, prelude=prelude, intervene=intervene)
        if prelude is not None and prelude.steps < 0:
            raise ValueError(f"prelude.steps = {prelude.steps}; give 0 or more")
        if prelude is not None and prelude.steps:
            deeper = self.in_box(self.config.deepened(prelude.steps))
            return deeper._run(embeddings, record, along, prelude, intervene)
        return self._run(embeddings, record, along, None, intervene)

    def _run(
        self,
        embeddings: Tensor,
        record: Record,
        along: float,
        prelude: Prelude | None,
        intervene: Sequence[Intervention],
    ) -> FlowResult:
        refuse_transforms(embeddings)
        embeddings = as_rows(embeddings, self.config, self.mapper.input_weight)
        for one in intervene:
            one.check(self.lattice, len(embeddings))
        details, path = details_of(record), self.config.untrained_path - (0 if prelude is None else prelude.steps)
        step = Step(self, intervene, details or ())
        first = embeddings if prelude is None else self._rows_of_prelude(prelude, len(embeddings))
        with torch.set_grad_enabled(torch.is_grad_enabled() and prelude is None):
            flows = self.launch(first)
        ledger = RunLedger(flows, details, self.config.max_children)
        step.executor.begin(flows, self._launches_as_written())
        if prelude is not None:
            flows = self._take_prelude(step, ledger, flows, embeddings, prelude.steps)
        reads = Readings(path, along)
        for _ in range(self.config.max_steps):
            result = step(flows)
            ledger.observe(result)
            flows = result.flows
            if not flows.size:
                return self._gather(ledger, result, flows.batch, reads)
            if reads.due():
                reads.add(self._read_along(step, ledger, flows, result))
        raise FloatingPointError(
            f"{flows.size} flows are still inside the lattice after {self.config.max_steps} steps, more than its "
            "depth allows: their positions are not finite; look for NaN in the input or the weights"
        )

    def _rows_of_prelude(self, prelude: Prelude, batch: int) -> Tensor:
        rows = as_rows(prelude.embeddings, self.config, self.mapper.input_weight)
        if len(rows) != batch:
            raise ValueError(f"prelude.embeddings has {len(rows)} rows for {batch} embeddings; give one for each")
        return rows

    def _take_prelude(self, step: Step, ledger: RunLedger, flows: Flows, embeddings: Tensor, steps: int) -> Flows:
        """Take steps without gradient; then the embeddings are what has entered."""
        with torch.no_grad():
            for _ in range(steps):
                result = step(flows)
                ledger.observe(result)
                flows = result.flows
        if step.coasting is not None:
            step.coasting.wake()
        return step.executor.renamed(flows, flows._replace(entered=self.mapper.to_sites(embeddings)))

    def launch(self, embeddings: Tensor) -> Flows:
        """(B, E in) embeddings to the flows at the input face, one per site."""
        return self.lattice.place_initial_energy(self.mapper.to_sites(embeddings))

    def step(self, flows: Flows) -> StepResult:
        """Advance all flows by one step; see `Step`, which `run` repeats."""
        return Step(self)(flows)

    def in_box(self, box: Box | str) -> FlowProcessor:
        """The same model in a lattice of another size: a view that shares every weight with this one.

        Neuron and carrier know nothing of the size of the box; of the faces the tied ones alone fit any number of
        sites. The view is as the model is now: one that is kept does not follow `train()` and `eval()`.

        Args:
            box: cells along x, y and z, also as text, such as `9x9x85`.

        Raises:
            ValueError: the cells do not make whole sites, or the faces are made for one number of sites.
        """
        config = self.config.in_box(box)
        if config.num_sites != self.config.num_sites and not self.mapper.tied:
            raise ValueError(
                f"box = {box}; mapping = {self.config.mapping!r} makes faces for {self.config.num_sites} sites alone: "
                "give a box with as many, or train a model with mapping = 'tied'"
            )
        view = copy.copy(self)
        view._modules = {**self._modules, "lattice": self._lattice_of(config)}
        view.config, view._lattices = config, {}
        share = self._training_flows / self.config.max_active_flows
        view._training_flows = max(config.num_sites, round(share * config.max_active_flows))
        return view

    def _lattice_of(self, config: EnergyConfig) -> EnergyLattice:
        """The geometry of another box, in the mode of this model; the tables of the last boxes are kept."""
        known = self._lattices.pop(config, None)
        kept = known if known is not None and type(known) is type(self.lattice) else type(self.lattice)(config)
        self._lattices[config] = kept
        while len(self._lattices) > KEPT_BOXES:
            self._lattices.pop(next(iter(self._lattices)), None)
        lattice = copy.copy(kept)  # a view keeps its mode, whatever becomes of the model and of other views
        lattice.training = self.training
        return lattice

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lattices": {}}  # tables of other boxes are made again, and need no place in files

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
        alone = flow._replace(
            position=position.view(1, 3),
            sample=flow.sample * 0,
            next_id=flow.next_id.index_select(0, flow.sample),
            entered=flow.entered.index_select(0, flow.sample),
        )
        result = self.step(alone)
        return None if result.counts.faded else result.moved.position[0]

    def execute(self, execution: Execution) -> None:
        """Choose how the dense part runs from now on."""
        self.execution = execution

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

    def _launches_as_written(self) -> bool:
        """Whether nobody changed what a launch gives: flows at home, with hidden states of zeros and a mass of 1."""
        return type(self).launch is FlowProcessor.launch and "launch" not in vars(self)

    def _read_along(self, step: Step, ledger: RunLedger, flows: Flows, result: StepResult) -> Tensor:
        """(B, S, C) what the face would give if the flows arrived where they are now."""
        if step.executor.stand_at_home(flows) and not getattr(self.carrier, "may_leave_column", True):
            return flows.energy.view(flows.batch, -1, flows.energy.shape[1])
        here = Arrivals(flows.energy, flows.mass, flows.position, flows.sample)
        return self.lattice.collect_output_energy(ledger.arrivals(result), flows.batch, here)[0]

    def _gather(self, ledger: RunLedger, result: StepResult, batch: int, reads: Readings) -> FlowResult:
        arrivals = ledger.arrivals(result)
        energies, site_mass = self.lattice.collect_output_energy(arrivals, batch)
        along = reads.together(energies)
        if along is not None:
            along = self.mapper.to_embedding(along.flatten(0, 1)).unflatten(0, (-1, batch))
        output = self.mapper.to_embedding(energies) if along is None else along[-1]
        if torch.is_grad_enabled():  # where no child was born: DistributedDataParallel waits for every gradient
            output = output + self.carrier.child_offset[:0].sum().to(output.dtype)  # adds nothing but the dependence
        entropy = None if arrivals.aim is None else torch.special.entr(arrivals.aim).sum() / max(1, len(arrivals.aim))
        return FlowResult(output, ledger.statistics(site_mass, self.config.energy_dim), ledger.trace(), entropy, along)


def _as_interventions(given: Iterable[Intervention]) -> tuple[Intervention, ...]:
    """What is done otherwise, of which every step asks anew.

    Raises:
        ValueError: it is no list of interventions.
    """
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in found:
        if not isinstance(one, Intervention):
            raise ValueError(f"intervene has {one!r}; give a list of interventions (energy_flow.core.interventions)")
    if not isinstance(given, Iterable):
        raise ValueError(f"intervene = {given!r}; give a list, such as [{type(given).__name__}(...)]")
    return found


def create_processor(config: EnergyConfig) -> FlowProcessor:
    """Build lattice, neuron and processor with the weights of `config.seed`; no global generator is touched."""
    return FlowProcessor.from_config(config)
