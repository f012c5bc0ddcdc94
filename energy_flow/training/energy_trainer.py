"""Training end to end: batches in, weights, figures and a run folder out.

Shapes: `N` pairs, `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..config import EnergyConfig
from ..core import create_processor
from ..data.pairs import PairData, PairSet, TextBank, embeddings_of
from ..data.read_ahead import LoadedBatch, read_ahead
from ..utils.determinism import deterministic_algorithms
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices, epoch_order
from ..utils.logging import log_context, logger
from ..distributed.ranks import Ranks
from ..utils.stopping import SIGNALS, StopSignals
from ..data.stored_rows import Rows
from .checkpoint_store import CheckpointStore
from .diagnosis import Batch, NonFiniteError, describe, keep_batch
from .execution_plan import most_flows, plan_execution, require_whole_batches, without_graphs
from .flow_budget import ADAPT_EVERY, FlowBudget
from .metrics import EmbeddingMetrics, measure
from .model_folder import CONFIG, load_weights, save_model
from .observers import Figures, Observer, run_folder_observers
from .run_folder import CHECKPOINTS, NONFINITE, newest_checkpoint, open_run_folder
from .run_state import EpochReport, RunState, files_of, fingerprint_of, restore, versions
from .schedule import create_optimizer, learning_rate_factor
from .training_step import StepFigures, TrainingStep
from .unwrapping import unwrap_processor
from .validation import Validation, check_pairs

Written = TypeVar("Written")
CHECKPOINT = "checkpoint"
PAUSES = ("", CHECKPOINT, "time limit", *SIGNALS)  # why training pauses after a step; a later one beats an earlier


@dataclass(frozen=True)
class TrainingResult:
    """What a training run gives; the processor holds the last weights, the run folder's `best` the best."""

    steps: int
    seconds: float
    epochs: tuple[EpochReport, ...]
    best_epoch: int | None  # the least validation loss; None without validation


class TrainingStopped(Exception):  # noqa: N818  # a stop that was asked for is no error
    """Training was asked to stop, by a signal or its time limit; the message says what was saved and how to go on."""


class _Clock:
    """The moments that a run goes by."""

    def __init__(self) -> None:
        self.started = self.checkpointed = self.reported = time.perf_counter()


class EnergyTrainer:
    """Trains a processor to map input embeddings to target embeddings.

    Within `joined_ranks` several processes train one model: each takes its share of every batch, all of them call the
    same methods with the same data, and the first alone writes files and tells the observers.

    Args:
        processor: the model; it is moved to the device. Where `torch.compile`, `DistributedDataParallel`,
            `DataParallel` or `AveragedModel` wraps it, the model inside is trained, and the wrapper is not called.
        config: its configuration.
        run_folder: where weights, checkpoints, metrics and curves go; None keeps nothing on disk.
        overwrite: replace what an earlier run left in `run_folder`.
        resume_from: go on with the run in `run_folder`: `auto` takes its newest whole checkpoint and starts anew where
            there is none; or a checkpoint's folder.
        devices: device and precision; by default the device that the processor is on.
        observers: who else watches, such as a `ProgressBar`.

    Raises:
        ValueError: no model, processor and configuration differ, the run folder holds something already, or the
            checkpoint is damaged, of a newer format, or of a run that would compute something else.
    """

    def __init__(
        self,
        processor: nn.Module,
        config: EnergyConfig,
        run_folder: str | Path | None = None,
        overwrite: bool = False,
        devices: DeviceManager | None = None,
        observers: Sequence[Observer] = (),
        resume_from: str | Path | None = None,
    ) -> None:
        processor = unwrap_processor(processor)
        if processor.config.to_dict() != config.to_dict():
            raise ValueError(
                "config differs from the processor's; build the processor from the configuration that trains it"
            )
        require_whole_batches(config)
        self.config = config
        self.devices = devices or DeviceManager(str(next(processor.parameters()).device), config.precision)
        self.processor = processor.to(self.devices.device)
        self.ranks = Ranks()
        _check_ranks(self.ranks, config, self.devices.device)
        self.optimizer = create_optimizer(self.processor, config)
        self.run_folder, checkpoint = self.ranks.from_first(
            lambda: open_run_folder(run_folder, overwrite, resume_from, config)
        )
        self._store = None
        if self.run_folder is not None and self.ranks.first:
            self._store = CheckpointStore(self.run_folder / CHECKPOINTS, config.keep_checkpoints)
        self._restored = None if checkpoint is None else self._restore(checkpoint)
        self._extra_observers = tuple(observers)
        self._observers: list[Observer] = []
        self._pending: list[StepFigures] = []
        self._step = TrainingStep(self.processor, self.optimizer, config, self.devices, self.ranks)
        self._clock, self._stops = _Clock(), StopSignals()
        self._most_flows = config.max_active_flows

    @classmethod
    def resume(
        cls,
        run_folder: str | Path,
        checkpoint: str | Path = "auto",
        devices: DeviceManager | None = None,
        observers: Sequence[Observer] = (),
    ) -> EnergyTrainer:
        """Go on with a run: a trainer whose `fit` or `train`, given the same data, continues where the checkpoint is.

        Raises:
            ValueError: the run has no whole checkpoint.
        """
        folder = Ranks().from_first(lambda: newest_checkpoint(Path(run_folder), checkpoint))
        config = EnergyConfig.load(folder / CONFIG)
        return cls(create_processor(config), config, run_folder, False, devices, observers, folder)

    def train(self, input_embeddings: Tensor, target_embeddings: Tensor, epochs: int | None = None) -> TrainingResult:
        """Train on two matrices, row by row.

        Args:
            input_embeddings: (N, E in), floating, on any device or a NumPy array: they are kept as float32 on the CPU.
            target_embeddings: (N, E out), likewise.
            epochs: passes over the rows; by default the configuration's.
        """
        return self._fit(PairSet(input_embeddings, target_embeddings), None, epochs)

    def fit(self, data: PairData, epochs: int | None = None) -> TrainingResult:
        """Train on a data set, and measure its validation split after every epoch.

        A second call begins a new run, from the weights as they are, in the same folder.
        """
        return self._fit(data.train, Validation(data.validation, data.bank), epochs)

    @torch.no_grad()
    def predict(self, inputs: Rows) -> Tensor:
        """(N, E in) embeddings to (N, E out) float32 on the CPU, in batches, without gradients.

        Args:
            inputs: floating rows of any precision, on any device, or a NumPy array, or rows of a file.
        """
        inputs = embeddings_of("inputs", inputs, self.config.input_embedding_dim)
        self.processor.eval()
        parts = [self._run(inputs[rows]).float().cpu() for rows in batch_slices(len(inputs), self.config.batch_size)]
        return torch.cat(parts)

    def evaluate(self, pairs: PairSet, bank: TextBank | None = None) -> EmbeddingMetrics:
        """Judge the model on pairs; with a bank, by ranks too."""
        check_pairs("pairs", pairs, self.config)
        return measure(self.predict(pairs.inputs), pairs, bank)

    def save(self, folder: str | Path) -> None:
        """Write weights and configuration to a folder; `load_model` reads them."""
        save_model(self.processor, folder)

    def _fit(self, pairs: PairSet, validation: Validation | None, epochs: int | None) -> TrainingResult:
        epochs = self.config.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"epochs = {epochs}; give at least 1")
        check_pairs("training pairs", pairs, self.config)
        if validation is not None:
            check_pairs("validation pairs", validation.pairs, self.config)
        if self.ranks.first and not bool(self.processor.mapper.calibrated):
            self.processor.mapper.calibrate(pairs.inputs, pairs.targets)
        self.ranks.copy_first_(list(self.processor.state_dict().values()))
        self._require_its_weights()
        state = self._state_for(pairs, epochs)
        started, self._clock = time.perf_counter(), _Clock()
        self._choose_execution(state)
        self._step.micro_batches = state.micro_batches
        self._open_observers(state)
        try:
            with contextlib.ExitStack() as whole_run:
                if self.run_folder is not None:
                    whole_run.enter_context(self._stops)
                if self.config.deterministic:
                    whole_run.enter_context(deterministic_algorithms(self.devices.device))
                while state.epoch <= epochs:
                    with log_context(run=self.run_folder.name if self.run_folder else "-", epoch=state.epoch):
                        self._run_epoch(pairs, validation, state)
                        self._keep_weights(state)
                        self._pause(state, at_end=state.epoch > epochs)
        finally:
            self._tell(state, lambda observer: observer.close())
        seconds = time.perf_counter() - started
        return TrainingResult(state.step, seconds, tuple(state.reports), state.best_epoch(self.config.best_by))

    def _require_its_weights(self) -> None:
        """Refuse to train a model that has got other weights than the optimizer's since the trainer was built."""
        known = {id(weight) for group in self.optimizer.param_groups for weight in group["params"]}
        for name, weight in self.processor.named_parameters():
            if weight.requires_grad and id(weight) not in known:
                raise ValueError(
                    f"{name} came to the model, or was unfrozen, after the trainer was built and would not be trained; "
                    "change the model first, then build EnergyTrainer"
                )

    def _choose_execution(self, state: RunState) -> None:
        weights = sum(weight.numel() for weight in self.processor.parameters())
        rows = -(-self.config.batch_size // (self.ranks.count * state.micro_batches))
        plan = plan_execution(self.config, self.devices, weights, rows)
        self.processor.execute(plan.execution)
        logger.info("%s", plan.reason)
        if plan.execution.graphed and state.micro_batches > 1:
            self.processor.execute(without_graphs(plan.execution))
            logger.warning("no CUDA graphs: the run takes %d micro-batches since memory ran out", state.micro_batches)
        if self.config.adaptive_budget:
            self._most_flows = most_flows(self.config, self.devices, weights, rows, plan.execution.checkpointed)
            state.budget = state.budget or FlowBudget(self._most_flows)
        self.processor.limit_training_flows(state.budget.flows if state.budget else self.config.max_active_flows)

    def _state_for(self, pairs: PairSet, epochs: int) -> RunState:
        """A new run, or the one that goes on."""
        total_steps = epochs * len(list(batch_slices(len(pairs), self.config.batch_size)))
        data = fingerprint_of(pairs)
        if len({*self.ranks.everyones((data, total_steps))}) > 1:
            raise ValueError("the processes have different training rows or epochs; give all the same")
        state, self._restored = self._restored, None
        if state is None:
            if self._store is not None:
                self._store.clear()  # of an earlier fit of this trainer: a new run begins
            return RunState(total_steps, data, micro_batches=self.config.accumulation, ranks=self.ranks.count)
        if state.data != data or state.total_steps != total_steps:
            what = "other training rows" if state.data != data else f"{state.total_steps} steps in all"
            raise ValueError(f"the run that goes on has {what}; give the data and epochs that it was started with")
        return state

    def _run_epoch(self, pairs: PairSet, validation: Validation | None, state: RunState) -> None:
        """Take the steps of this epoch that are left, and look at the validation set."""
        self._clock.reported = time.perf_counter()
        batches = epoch_order(len(pairs), self.config.seed, state.epoch).split(self.config.batch_size)[state.batch :]
        pinned = self.devices.copies_from_pinned_memory
        with contextlib.closing(read_ahead(pairs, batches, self.config.loader_workers, pinned)) as loaded:
            for batch in loaded:
                with log_context(step=state.step + 1):
                    self._train_step(batch, state)
                state.step, state.batch = state.step + 1, state.batch + 1
                if len(self._pending) == self.config.log_every:
                    self._report(state)
                self._adapt_budget(state)
                self._pause(state)
        self._report(state)
        train_loss = state.epoch_loss / max(1, state.epoch_rows)
        loss, metrics = None, None
        if validation is not None:
            outputs = self._predict_shared(validation.pairs.inputs)
            loss, metrics, examples = self.ranks.from_first(partial(validation.judge, outputs, self.config))
            figures = {"step": state.step, "epoch": state.epoch, "loss": loss, "train_loss": train_loss}
            self._tell(state, lambda observer: observer.validate(figures | metrics.to_dict(), examples))
        state.reports.append(EpochReport(state.epoch, train_loss, loss, metrics))
        state.epoch, state.batch, state.epoch_loss, state.epoch_rows = state.epoch + 1, 0, 0.0, 0

    def _adapt_budget(self, state: RunState) -> None:
        """Where it is asked for, and at fixed steps: a run's budgets do not depend on how it is watched."""
        if state.budget is None or state.step % ADAPT_EVERY:
            return
        self._report(state)
        changed = state.budget.adapt(self.config.num_sites, self._most_flows)
        if changed:
            logger.info("%s", changed)
        self.processor.limit_training_flows(state.budget.flows)

    def _pause(self, state: RunState, at_end: bool = False) -> None:
        """Write a checkpoint where one is due; stop where a signal or the time limit asks for it."""
        if self.run_folder is None:
            return
        reason = PAUSES[self.ranks.largest([PAUSES.index(self._wish_to_pause(state))])[0]]
        if not (reason or at_end):
            return
        self._report(state)
        saved = self._checkpoint(state)
        if reason not in ("", CHECKPOINT) and not at_end:
            where = f"saved in {saved}" if saved else "nothing new was saved"
            raise TrainingStopped(f"stopped after step {state.step} ({reason}), {where}; go on with --resume auto")

    def _wish_to_pause(self, state: RunState) -> str:
        """Why this process would pause; the processes' clocks and signals differ."""
        now, config = time.perf_counter(), self.config
        if self._stops.received:
            return self._stops.received
        if config.time_limit_minutes and now - self._clock.started > 60 * config.time_limit_minutes:
            return "time limit"
        by_steps = config.checkpoint_every and state.batch and state.step % config.checkpoint_every == 0
        by_clock = config.checkpoint_minutes and now - self._clock.checkpointed > 60 * config.checkpoint_minutes
        return CHECKPOINT if by_steps or by_clock else ""

    def _checkpoint(self, state: RunState) -> Path | None:
        """Write a checkpoint, of every process's part; None where that failed."""
        self._clock.checkpointed = time.perf_counter()
        files = files_of(self.processor, self.optimizer, state, self.ranks)
        return self.ranks.from_first(partial(self._save_checkpoint, state, files))

    def _save_checkpoint(self, state: RunState, files: Mapping[str, Callable[[Path], object]]) -> Path | None:
        store = self._store
        assert store is not None  # of the first process, where there is a run folder
        return self._try(state, CHECKPOINT, lambda: store.save(state.step, files, {"versions": versions()}))

    def _try(self, state: RunState, what: str, write: Callable[[], Written]) -> Written | None:
        """Write; where the disk does not let it, say so and go on: what was written before is whole."""
        try:
            return write()
        except (OSError, SafetensorError) as error:
            logger.error("no %s at step %d (%s): what was written before stays", what, state.step, error)
            return None

    def _tell(self, state: RunState, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            self._try(state, f"record of {type(observer).__name__}", partial(tell, observer))

    def _restore(self, folder: Path) -> RunState:
        load_weights(self.processor, folder)
        return restore(folder, self.optimizer, self.ranks)

    def _train_step(self, loaded: LoadedBatch, state: RunState) -> None:
        """Take a step, or leave the batch out where a number is not finite and the policy says so."""
        rate = self.config.learning_rate * learning_rate_factor(state.step, state.total_steps, self.config)
        try:
            self._pending.append(self._step(loaded.inputs, loaded.targets, rate))
            state.micro_batches = self._step.micro_batches
        except NonFiniteError as error:
            self._report(state)
            batch = Batch(state.step + 1, *loaded)
            if self.run_folder is not None and self.ranks.first:
                self._try(
                    state, "copy of the batch", partial(keep_batch, self.run_folder / NONFINITE, batch, str(error))
                )
            state.skipped += 1
            message = describe(batch, str(error))
            if self.config.nonfinite == "stop" or state.skipped > self.config.nonfinite_budget:
                raise NonFiniteError(message) from error
            logger.warning("%s. Left out: %d of %d", message, state.skipped, self.config.nonfinite_budget)

    def _run(self, inputs: Tensor) -> Tensor:
        with self.devices.autocast():
            dtype = next(self.processor.parameters()).dtype
            return self.processor(inputs.to(self.devices.device, dtype))

    def _predict_shared(self, inputs: Rows) -> Tensor:
        """(N, E out) on the first process: every process predicts its share, and empty on the others."""
        share = self.ranks.share(len(inputs))
        rows = inputs[share]
        part = self.predict(rows) if len(rows) else torch.empty(0, self.config.output_embedding_dim)
        return torch.cat([*self.ranks.bring_to_first(part), torch.empty(0, self.config.output_embedding_dim)])

    def _report(self, state: RunState) -> None:
        """Bring the figures of the pending steps to the CPU in one transfer, and tell the observers."""
        if not self._pending:
            return
        figures = bring_to_host(self._pending)
        for step in figures:
            state.epoch_loss += step["loss"] * step["rows"]
            state.epoch_rows += int(step["rows"])
            if state.budget is not None:
                step["most_flows"] = state.budget.flows
                state.budget.observe(step)
        seconds = time.perf_counter() - self._clock.reported
        shared = {
            "epoch": state.epoch,
            "flow_steps_per_second": sum(step["flow_steps"] for step in figures) / seconds,
            "step_seconds": seconds / len(figures),
            "memory_bytes": self.devices.watch_memory().used,
        }
        busy = self.devices.utilization()
        if busy is not None:
            shared["gpu_utilization"] = busy
        first = state.step - len(figures) + 1
        records: list[Figures] = [{"step": first + index} | shared | step for index, step in enumerate(figures)]
        self._tell(state, lambda observer: observer.observe(records))
        self._pending, self._clock.reported = [], time.perf_counter()

    def _open_observers(self, state: RunState) -> None:
        self._pending = []
        self._observers = []
        if not self.ranks.first:
            return
        own = [] if self.run_folder is None else run_folder_observers(self.run_folder, state.step, len(state.reports))
        self._observers = [*own, *self._extra_observers]
        if self.run_folder is not None:
            self.config.save(self.run_folder / "config.json")
        place = f"from step {state.step} of {state.total_steps}" if state.step else f"{state.total_steps} steps"
        together = f", {self.ranks.count} processes" if self.ranks.count > 1 else ""
        logger.info("training on %s%s, %s", self.devices.reason, together, place)
        for observer in self._observers:
            observer.start(state.total_steps - state.step)

    def _keep_weights(self, state: RunState) -> None:
        if self.run_folder is None or not self.ranks.first:
            return
        best = state.best_epoch(self.config.best_by) == state.reports[-1].epoch
        for name in ("last", "best") if best else ("last",):
            self._try(state, f"{name} weights", partial(self.save, self.run_folder / name))


def bring_to_host(steps: Sequence[StepFigures]) -> list[dict[str, float]]:
    """Figures of some steps as numbers: those on the device come over in one transfer, the host's stay as they are."""
    there: list[Tensor] = [value for step in steps for value in step.values() if isinstance(value, Tensor)]
    brought = iter(torch.stack([value.float() for value in there]).tolist() if there else ())
    return [
        {name: next(brought) if isinstance(value, Tensor) else value for name, value in step.items()} for step in steps
    ]


def _check_ranks(ranks: Ranks, config: EnergyConfig, device: torch.device) -> None:
    """Refuse what several processes cannot do, with a ValueError on each of them."""
    if ranks.count > config.batch_size:
        raise ValueError(
            f"batch_size = {config.batch_size}; {ranks.count} processes need a row each: give at least {ranks.count}"
        )
    places, configurations = zip(*ranks.everyones(((platform.node(), str(device)), config.to_json())), strict=True)
    if len({*configurations}) > 1:
        raise ValueError("the processes have different configurations; give all the same")
    if device.type != "cpu" and len({*places}) < len(places):
        raise ValueError(f"device = {device}: several processes would share it; leave the card's number out")
