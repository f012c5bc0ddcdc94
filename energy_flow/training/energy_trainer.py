"""Training end to end: batches in, weights, figures and a run folder out.

Shapes: `N` pairs, `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..config import EnergyConfig
from ..core import FlowProcessor, create_processor
from ..data.pairs import PairData, PairSet, TextBank, check_embeddings, check_width
from ..utils.determinism import deterministic_algorithms
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices, epoch_order
from ..utils.logging import log_context, logger
from ..utils.stopping import StopSignals
from ..utils.stored_rows import Rows, chunks
from .checkpoint import CONFIG, load_weights, save_model
from .checkpoint_store import CheckpointStore
from .diagnosis import Batch, NonFiniteError, describe, keep_batch
from .losses import DIRECTIONAL, total_loss
from .metrics import EmbeddingMetrics, Judge, measure
from .observers import Example, Figures, Observer, run_folder_observers
from .run_folder import CHECKPOINTS, NONFINITE, open_run_folder
from .run_state import EpochReport, RunState, files_of, fingerprint_of, restore, versions
from .schedule import create_optimizer, learning_rate_factor
from .training_step import TrainingStep

Written = TypeVar("Written")
EXAMPLES = 3  # of the validation set, decoded after every epoch


@dataclass(frozen=True)
class TrainingResult:
    """What a training run gives; the processor holds the last weights, the run folder's `best` the best."""

    steps: int
    seconds: float
    epochs: tuple[EpochReport, ...]
    best_epoch: int | None  # the least validation loss; None without validation


class Validation:
    """The pairs that are looked at after every epoch, and who judges them."""

    def __init__(self, pairs: PairSet, bank: TextBank | None) -> None:
        self.pairs, self.judge = pairs, Judge(bank)


class TrainingStopped(Exception):  # noqa: N818  # a stop that was asked for is no error
    """Training was asked to stop, by a signal or its time limit; the message says what was saved and how to go on."""


class _Clock:
    """The moments that a run goes by."""

    def __init__(self) -> None:
        self.started = self.checkpointed = self.reported = time.perf_counter()


class EnergyTrainer:
    """Trains a processor to map input embeddings to target embeddings.

    Args:
        processor: the model; it is moved to the device.
        config: its configuration.
        run_folder: where weights, checkpoints, metrics and curves go; None keeps nothing on disk.
        overwrite: replace what an earlier run left in `run_folder`.
        resume_from: go on with the run in `run_folder`: `auto` takes its newest whole checkpoint and starts anew where
            there is none; or a checkpoint's folder.
        devices: device and precision; by default the device that the processor is on.
        observers: who else watches, such as a `ProgressBar`.

    Raises:
        ValueError: processor and configuration differ, the run folder holds something already, or the checkpoint is
            damaged, of a newer format, or of a run that would compute something else.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        config: EnergyConfig,
        run_folder: str | Path | None = None,
        overwrite: bool = False,
        devices: DeviceManager | None = None,
        observers: Sequence[Observer] = (),
        resume_from: str | Path | None = None,
    ) -> None:
        if processor.config.to_dict() != config.to_dict():
            raise ValueError(
                "config differs from the processor's; build the processor from the configuration that trains it"
            )
        self.config = config
        self.devices = devices or DeviceManager(str(next(processor.parameters()).device), config.precision)
        self.processor = processor.to(self.devices.device)
        self.optimizer = create_optimizer(self.processor, config)
        self.run_folder, checkpoint = open_run_folder(run_folder, overwrite, resume_from, config)
        self._store = None
        if self.run_folder is not None:
            self._store = CheckpointStore(self.run_folder / CHECKPOINTS, config.keep_checkpoints)
        self._restored = None if checkpoint is None else self._restore(checkpoint)
        self._extra_observers = tuple(observers)
        self._observers: list[Observer] = []
        self._pending: list[dict[str, Tensor]] = []
        self._step = TrainingStep(self.processor, self.optimizer, config, self.devices)
        self._clock, self._stops = _Clock(), StopSignals()

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
        store = CheckpointStore(Path(run_folder) / CHECKPOINTS)
        folder = store.newest() if checkpoint == "auto" else Path(checkpoint)
        if folder is None:
            raise ValueError(f"{store.folder}: no whole checkpoint to go on from; give another run, or start one")
        config = EnergyConfig.load(folder / CONFIG)
        return cls(create_processor(config), config, run_folder, False, devices, observers, folder)

    def train(self, input_embeddings: Tensor, target_embeddings: Tensor, epochs: int | None = None) -> TrainingResult:
        """Train on two matrices, row by row.

        Args:
            input_embeddings: (N, E in), floating.
            target_embeddings: (N, E out), floating.
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
        """(N, E in) embeddings to (N, E out) float32 on the CPU, in batches, without gradients."""
        check_embeddings("inputs", inputs, self.config.input_embedding_dim)
        self.processor.eval()
        parts = [self._run(inputs[rows]).cpu() for rows in batch_slices(len(inputs), self.config.batch_size)]
        return torch.cat(parts)

    def evaluate(self, pairs: PairSet, bank: TextBank | None = None) -> EmbeddingMetrics:
        """Judge the model on pairs; with a bank, by ranks too."""
        self._check(pairs, "pairs")
        return measure(self.predict(pairs.inputs), pairs, bank)

    def save(self, folder: str | Path) -> None:
        """Write weights and configuration to a folder; `load_model` reads them."""
        save_model(self.processor, folder)

    def _fit(self, pairs: PairSet, validation: Validation | None, epochs: int | None) -> TrainingResult:
        epochs = self.config.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"epochs = {epochs}; give at least 1")
        self._check(pairs, "training pairs")
        if validation is not None:
            self._check(validation.pairs, "validation pairs")
        if not bool(self.processor.mapper.calibrated):
            self.processor.mapper.calibrate(pairs.inputs, pairs.targets)
        state = self._state_for(pairs, epochs)
        started, self._clock = time.perf_counter(), _Clock()
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

    def _state_for(self, pairs: PairSet, epochs: int) -> RunState:
        """A new run, or the one that goes on."""
        total_steps = epochs * len(list(batch_slices(len(pairs), self.config.batch_size)))
        data = fingerprint_of(pairs)
        state, self._restored = self._restored, None
        if state is None:
            if self._store is not None:
                self._store.clear()  # of an earlier fit of this trainer: a new run begins
            return RunState(total_steps, data, micro_batches=self.config.accumulation)
        if state.data != data or state.total_steps != total_steps:
            what = "other training rows" if state.data != data else f"{state.total_steps} steps in all"
            raise ValueError(f"the run that goes on has {what}; give the data and epochs that it was started with")
        return state

    def _run_epoch(self, pairs: PairSet, validation: Validation | None, state: RunState) -> None:
        """Take the steps of this epoch that are left, and look at the validation set."""
        self._clock.reported = time.perf_counter()
        order = epoch_order(len(pairs), self.config.seed, state.epoch)
        for rows in list(batch_slices(len(pairs), self.config.batch_size))[state.batch :]:
            with log_context(step=state.step + 1):
                self._train_step(pairs, order[rows], state)
            state.step, state.batch = state.step + 1, state.batch + 1
            if len(self._pending) == self.config.log_every:
                self._report(state)
            self._pause(state)
        self._report(state)
        train_loss = state.epoch_loss / max(1, state.epoch_rows)
        report = EpochReport(state.epoch, train_loss, None, None)
        if validation is not None:
            loss, metrics = self._validate(validation)
            report = EpochReport(state.epoch, train_loss, loss, metrics)
            figures = {"step": state.step, "epoch": state.epoch, "loss": loss, "train_loss": train_loss}
            examples = self._decode_examples(validation)
            self._tell(state, lambda observer: observer.validate(figures | metrics.to_dict(), examples))
        state.reports.append(report)
        state.epoch, state.batch, state.epoch_loss, state.epoch_rows = state.epoch + 1, 0, 0.0, 0

    def _pause(self, state: RunState, at_end: bool = False) -> None:
        """Write a checkpoint where one is due; stop where a signal or the time limit asks for it."""
        if self._store is None:
            return
        now, config = time.perf_counter(), self.config
        limit = config.time_limit_minutes
        reason = self._stops.received or ("time limit" if limit and now - self._clock.started > 60 * limit else None)
        by_steps = config.checkpoint_every and state.batch and state.step % config.checkpoint_every == 0
        by_clock = config.checkpoint_minutes and now - self._clock.checkpointed > 60 * config.checkpoint_minutes
        if not (at_end or reason or by_steps or by_clock):
            return
        self._report(state)
        saved = self._checkpoint(state)
        if reason and not at_end:
            where = f"saved in {saved}" if saved else "nothing new was saved"
            raise TrainingStopped(f"stopped after step {state.step} ({reason}), {where}; go on with --resume auto")

    def _checkpoint(self, state: RunState) -> Path | None:
        """Write a checkpoint; None where that failed."""
        store = self._store
        assert store is not None  # asked for where there is one alone
        self._clock.checkpointed = time.perf_counter()
        files = files_of(self.processor, self.optimizer, state)
        return self._try(state, "checkpoint", lambda: store.save(state.step, files, {"versions": versions()}))

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
        return restore(folder, self.optimizer)

    def _train_step(self, pairs: PairSet, rows: Tensor, state: RunState) -> None:
        """Take a step, or leave the batch out where a number is not finite and the policy says so."""
        inputs, targets = pairs.batch(rows)
        rate = self.config.learning_rate * learning_rate_factor(state.step, state.total_steps, self.config)
        try:
            self._pending.append(self._step(inputs, targets, rate))
            state.micro_batches = self._step.micro_batches
        except NonFiniteError as error:
            self._report(state)
            batch = Batch(state.step + 1, rows, inputs, targets)
            if self.run_folder is not None:
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
            return self.processor.run(inputs.to(self.devices.device)).output

    @torch.no_grad()
    def _validate(self, validation: Validation) -> tuple[float, EmbeddingMetrics]:
        pairs = validation.pairs
        outputs = self.predict(pairs.inputs)
        total = 0.0
        for rows in batch_slices(len(pairs), self.config.batch_size):
            loss, _ = total_loss(outputs[rows], pairs.targets[rows], self.config)
            total += float(loss) * len(outputs[rows])
        return total / len(pairs), validation.judge.measure(outputs, pairs)

    def _decode_examples(self, validation: Validation) -> list[Example]:
        """The same few rows of the validation set at every look, decoded to the nearest texts."""
        nearest_texts = validation.judge.nearest
        if nearest_texts is None or not validation.pairs.input_texts:
            return []
        shown = validation.pairs.spaced(EXAMPLES)
        nearest = nearest_texts(self.predict(shown.inputs), min(3, len(nearest_texts.texts)))
        found = [tuple(match.text for match in matches) for matches in nearest]
        return [Example(*row) for row in zip(shown.input_texts, shown.target_texts, found, strict=True)]

    def _report(self, state: RunState) -> None:
        """Bring the figures of the pending steps to the CPU in one transfer, and tell the observers."""
        if not self._pending:
            return
        names = list(self._pending[0])
        rows = torch.stack([torch.stack([step[name].detach().float() for name in names]) for step in self._pending])
        figures = [dict(zip(names, row, strict=True)) for row in rows.tolist()]
        for step in figures:
            state.epoch_loss += step["loss"] * step["rows"]
            state.epoch_rows += int(step["rows"])
        seconds = time.perf_counter() - self._clock.reported
        shared = {
            "epoch": state.epoch,
            "flow_steps_per_second": sum(step["flow_steps"] for step in figures) / seconds,
            "step_seconds": seconds / len(figures),
            "memory_bytes": self.devices.watch_memory().used,
        }
        first = state.step - len(figures) + 1
        records: list[Figures] = [{"step": first + index} | shared | step for index, step in enumerate(figures)]
        self._tell(state, lambda observer: observer.observe(records))
        self._pending, self._clock.reported = [], time.perf_counter()

    def _check(self, pairs: PairSet, name: str) -> None:
        check_width(f"{name}: inputs", pairs.inputs, self.config.input_embedding_dim)
        check_width(f"{name}: targets", pairs.targets, self.config.output_embedding_dim)
        if any(loss in DIRECTIONAL for loss in self.config.loss_weights):
            zero = torch.cat([(chunk == 0).all(dim=1) for chunk in chunks(pairs.targets)]).nonzero().flatten()
            if len(zero):
                raise ValueError(
                    f"{name}: targets has {len(zero)} rows of zeros, first row {int(zero[0])}; they "
                    "have no direction for the cosine: remove them, or train with loss_mse alone"
                )

    def _open_observers(self, state: RunState) -> None:
        self._pending = []
        own = [] if self.run_folder is None else run_folder_observers(self.run_folder, state.step, len(state.reports))
        self._observers = [*own, *self._extra_observers]
        if self.run_folder is not None:
            self.config.save(self.run_folder / "config.json")
        place = f"from step {state.step} of {state.total_steps}" if state.step else f"{state.total_steps} steps"
        logger.info("training on %s, %s", self.devices.reason, place)
        for observer in self._observers:
            observer.start(state.total_steps - state.step)

    def _keep_weights(self, state: RunState) -> None:
        if self.run_folder is None:
            return
        best = state.best_epoch(self.config.best_by) == state.reports[-1].epoch
        for name in ("last", "best") if best else ("last",):
            self._try(state, f"{name} weights", partial(self.save, self.run_folder / name))
