"""Training end to end: epochs, steps, and looks at the validation set. The run owns the folder, the step the numbers.

Shapes: `N` pairs, `E` embedding width.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Box, EnergyConfig
from ..core import FlowProcessor, FlowResult, create_processor
from ..core.ledger import Record
from ..data.checked_rows import embeddings_of
from ..data.pairs import PairData, Pairs, PairSet, TextBank, one_size
from ..data.stored_rows import Rows
from ..data.tasks import TASKS
from ..distributed.ranks import Ranks
from ..utils.device_manager import DeviceManager
from ..utils.logging import logger
from .batches import box_of
from .callbacks import Callback, Callbacks
from .learner import Learner
from .losses import OwnLoss
from .metrics import EmbeddingMetrics, measure
from .model_folder import CONFIG, save_model
from .optimizers import MakeOptimizer
from .planning import plan_run
from .run.observers import Observer
from .run.opening import Opened, Opening, newest_checkpoint, open_run
from .run.run import Run, TrainingStopped
from .run.run_state import EpochReport, RunState
from .schedule import Schedule
from .training_loop import TrainingLoop
from .validation import Figure, Validation, check_pairs


@dataclass(frozen=True)
class TrainingResult:
    """What a training run gives; the processor holds the last weights, the run folder's `best` the best."""

    steps: int
    seconds: float
    epochs: tuple[EpochReport, ...]  # the looks at the validation set, or the ends of epochs without one
    best_epoch: int | None  # by the figure of `best_by`; None without validation
    ended: str = ""  # why the run ended before its last epoch, if it did


class EnergyTrainer:
    """Trains a processor to map input embeddings to target embeddings.

    Within `joined_ranks` several processes train one model: each takes its share of every batch, all of them call the
    same methods with the same data, and the first alone writes files and tells the observers.

    Args:
        processor: the model; it is moved to the device. Where `torch.compile`, `DistributedDataParallel`,
            `DataParallel` or `AveragedModel` wraps it, the model inside is trained, and the wrapper is not called.
        config: its configuration; how it is trained may differ from what the model was built with.
        run_folder: where weights, checkpoints, metrics and curves go, once training starts; None keeps nothing on disk.
        overwrite: replace what an earlier run left in `run_folder`.
        devices: device and precision; by default the device that the processor is on.
        observers: who watches, such as a `ProgressBar`; one that fails is switched off.
        resume_from: go on with the run in `run_folder`: `auto` takes its newest whole checkpoint and starts anew where
            there is none; or a checkpoint's folder. One of another run is gone on with in this, new, folder.
        loss: (R, E) outputs and their targets to a scalar, a mean over rows; by default the configuration's losses.
        optimizer: of the model's parameters, or what makes one of the model; by default the configuration's.
        schedule: (step from 0, steps of the whole run) to the share of the peak rate; by default warm-up and cosine.
        callbacks: who takes part, and may end the run.
        figures: more figures of the validation set by their names: (N, E) outputs and targets to a number, of which
            more is better; `best_by` knows them.

    Raises:
        ValueError: no model, processor and configuration do not fit, the run folder cannot be used, or the checkpoint
            is damaged, of a newer format, or of a run that would compute something else.
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
        *,
        loss: OwnLoss | None = None,
        optimizer: torch.optim.Optimizer | MakeOptimizer | None = None,
        schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (),
        figures: Mapping[str, Figure] | None = None,
    ) -> None:
        self.ranks = Ranks()
        opening = self.ranks.from_first(partial(open_run, run_folder, overwrite, resume_from, config))
        self._learner = Learner(processor, config, devices, self.ranks, loss, optimizer, schedule, opening.checkpoint)
        self._run = Run(opening, config, self.ranks, observers)
        self._opening = opening  # with which the run began, as long as it is not finished
        self._step = self._learner.step  # what tests look into
        self._loop = TrainingLoop(self._learner, self._run, Callbacks(callbacks, self))
        self.figures = dict(figures or {})
        self._state, self._broken = self._learner.restored, False  # of the run that goes on; whether an error cut it

    @classmethod
    def resume(
        cls,
        run_folder: str | Path,
        checkpoint: str | Path = "auto",
        devices: DeviceManager | None = None,
        observers: Sequence[Observer] = (),
        **parts: Any,
    ) -> EnergyTrainer:
        """Go on with a run: a trainer whose `fit` or `train`, given the same data, continues where the checkpoint is.

        Args:
            run_folder: of the run.
            checkpoint: `auto`, or the folder of one of its checkpoints.
            devices: as in the constructor.
            observers: likewise.
            parts: loss, optimizer, schedule, callbacks and figures, as the run was started with.

        Raises:
            ValueError: the run has no whole checkpoint.
        """
        folder = Ranks().from_first(partial(newest_checkpoint, Path(run_folder), checkpoint))
        config = EnergyConfig.load(folder / CONFIG)
        return cls(create_processor(config), config, run_folder, False, devices, observers, folder, **parts)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; another one of the same parameters may be assigned before training."""
        return self._learner.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self._state is not None or self._broken:
            raise ValueError("the run goes on with the moments of its optimizer; give another to a new run")
        self._learner.use_optimizer(optimizer)

    @property
    def processor(self) -> FlowProcessor:
        """The model."""
        return self._learner.processor

    @property
    def config(self) -> EnergyConfig:
        """Its configuration."""
        return self._learner.config

    @property
    def devices(self) -> DeviceManager:
        """Device and precision."""
        return self._learner.devices

    @property
    def run_folder(self) -> Path | None:
        """Where the run is kept."""
        return self._run.folder

    def train(self, input_embeddings: Tensor, target_embeddings: Tensor, epochs: int | None = None) -> TrainingResult:
        """Train on two matrices, row by row.

        Args:
            input_embeddings: (N, E in), floating, on any device or a NumPy array: they are kept as float32 on the CPU.
            target_embeddings: (N, E out), likewise.
            epochs: passes over the rows; by default the configuration's.
        """
        return self._fit(PairSet(input_embeddings, target_embeddings), None, epochs)

    def fit(self, data: PairData, epochs: int | None = None) -> TrainingResult:
        """Train on a data set, and look at its validation split after every epoch, or more often.

        After an interruption a second call goes on. After a run that is finished it begins another, from the weights
        as they are; what the first left in the folder is set aside.

        Raises:
            TrainingStopped: a signal or the time limit asked for it; what was saved is said.
            WeightsNotSavedError: the last or best weights could not be written.
        """
        validation = Validation(data.validation, data.bank, self.figures, self._learner.loss, data.task)
        return self._fit(data.train, validation, epochs, data.task)

    def predict(self, inputs: Rows, box: Box | None = None) -> Tensor:
        """(N, E in) embeddings to (N, E out) float32 on the CPU, in batches, without gradients.

        Args:
            inputs: floating rows of any precision, on any device, or a NumPy array, or rows of a file.
            box: a lattice of another size, in which the same weights work.
        """
        config = self.config if box is None else self.config.in_box(box)
        inputs = embeddings_of("inputs", inputs, config.input_embedding_dim)
        with self._learner.judged_weights():
            return self._learner.prediction(inputs, box)

    def watch(self, inputs: Rows, box: Box | None = None, record: Record = True) -> FlowResult:
        """Run a few rows with the weights that are judged, without gradients, and keep the trace of their flows.

        Args:
            inputs: (N, E in) as for `predict`; all of them run at once.
            box: a lattice of another size.
            record: as for `FlowProcessor.run`.
        """
        config = self.config if box is None else self.config.in_box(box)
        inputs = embeddings_of("inputs", inputs, config.input_embedding_dim)
        processor, trains = self.processor, self.processor.training
        try:
            with self._learner.judged_weights(), torch.no_grad(), self.devices.autocast():
                processor.eval()
                return processor.run(inputs[:].to(self.devices.device), record, box)
        finally:
            processor.train(trains)

    def evaluate(self, pairs: PairSet, bank: TextBank | None = None, box: Box | None = None) -> EmbeddingMetrics:
        """Judge the model on pairs; with a bank, by ranks too.

        Args:
            pairs: of one size.
            bank: what the targets' texts are ranked among.
            box: the lattice to run in; by default that of the pairs' face, or else the model's own.

        Raises:
            ValueError: pairs of several sizes, or of another width.
        """
        pairs = one_size("pairs", pairs)
        box = box_of(pairs.face, self.config) if box is None else box
        config = self.config if box is None else self.config.in_box(box)
        check_pairs("pairs", pairs, config, self._learner.needs_directions)
        return measure(self.predict(pairs.inputs, box), pairs, bank)

    def judged_model(self) -> FlowProcessor:
        """A copy in `eval()`, with the weights that are judged and saved: their average, where there is one."""
        with self._learner.judged_weights():
            return copy.deepcopy(self.processor).eval()

    def save(self, folder: str | Path) -> None:
        """Write weights (their average, where `ema_decay` asks for one) and configuration; `load_model` reads them."""
        with self._learner.judged_weights():
            save_model(self.processor, folder)

    def _fit(
        self, pairs: Pairs, validation: Validation | None, epochs: int | None, task: str | None = None
    ) -> TrainingResult:
        started, config = time.perf_counter(), self.config
        self._step.waiting = None if task is None else TASKS[task].waiting
        check_pairs("training pairs", pairs, config, self._learner.needs_directions)
        if validation is not None:
            check_pairs("validation pairs", validation.pairs, config, self._learner.needs_directions)
            validation.require(config.best_by)
        elif config.patience is not None:
            raise ValueError("patience needs a validation set to look at; call fit with one, or leave patience out")
        state, new = self._plan(pairs, epochs)
        with self._run.running(state, self._learner.weight_bytes), self._learner.same_bits():
            self._state, self._broken = None, True
            self._learner.prepare(pairs, state, new)
            try:
                self._loop(pairs, validation, state)
            except TrainingStopped:
                self._state, self._broken = state, False
                self._run.reopen(Opened.RESUMED)
                raise
        self._broken, self._opening = False, Opening(None)
        self._run.reopen(Opened.AGAIN)
        best, seconds = state.best(config.best_by), time.perf_counter() - started
        ended = self._loop.reason_to_end(state) if state.epoch <= state.epochs else ""
        return TrainingResult(state.step, seconds, tuple(state.reports), best and best.epoch, ended)

    def _plan(self, pairs: Pairs, epochs: int | None) -> tuple[RunState, bool]:
        """Where this fit begins, and whether that is a new run. After an error a run goes on from its checkpoint."""
        if self._broken:
            self._go_back()
        going_on = self._state
        epochs = self._learner.wanted_epochs if epochs is None else epochs
        state = plan_run(going_on, pairs, epochs, self.config, self._learner.schedule, self.ranks)
        return state, going_on is None

    def _go_back(self) -> None:
        """After an error in the middle of a step: to the newest checkpoint, or that which the run began with."""
        own = self._run.newest()
        checkpoint = own or self._opening.checkpoint
        if checkpoint is not None:
            self._state = self._learner.reload(checkpoint)
            self._run.reopen(Opened.RESUMED if own else self._opening.how, checkpoint)
        else:
            logger.warning("the run that failed saved nothing: a new one begins, from the weights as they are")
            self._run.reopen(Opened.AGAIN)
        self._broken = False
