"""Training end to end: batches in, weights, figures and a run folder out.

Shapes: `N` pairs, `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..config import EnergyConfig
from ..core import FlowProcessor, FlowStatistics
from ..data.pairs import PairData, PairSet, TextBank, check_embeddings, check_width
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices, epoch_order
from ..utils.logging import log_context, logger
from ..utils.stored_rows import Rows, chunks
from .checkpoint import save_model
from .diagnosis import NonFiniteError, first_nonfinite, first_nonfinite_gradient
from .flow_log import log_flows
from .losses import DIRECTIONAL, total_loss
from .metrics import EmbeddingMetrics, Judge, measure
from .observers import Example, Figures, Observer, run_folder_observers
from .schedule import create_optimizer, learning_rate_factor

EXAMPLES = 3  # of the validation set, decoded after every epoch
RUN_FILES = ("config.json", "metrics.jsonl", "log.jsonl", "tensorboard", "best", "last")


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training set."""

    epoch: int  # from 1
    train_loss: float
    validation_loss: float | None
    validation: EmbeddingMetrics | None


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


@dataclass
class _Progress:
    """Where a run is."""

    total_steps: int
    step: int = 0
    epoch: int = 1
    pending: list[dict[str, Tensor]] = field(default_factory=list)
    pending_since: float = field(default_factory=time.perf_counter)
    epoch_loss: float = 0.0


class EnergyTrainer:
    """Trains a processor to map input embeddings to target embeddings.

    Args:
        processor: the model; it is moved to the device.
        config: its configuration.
        run_folder: where weights, metrics and curves go; None keeps nothing on disk.
        overwrite: replace what an earlier run left in `run_folder`.
        devices: device and precision; by default the device that the processor is on.
        observers: who else watches, such as a `ProgressBar`.

    Raises:
        ValueError: processor and configuration differ, or the run folder holds something already.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        config: EnergyConfig,
        run_folder: str | Path | None = None,
        overwrite: bool = False,
        devices: DeviceManager | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        if processor.config.to_dict() != config.to_dict():
            raise ValueError(
                "config differs from the processor's; build the processor from the configuration that trains it"
            )
        self.config = config
        self.devices = devices or DeviceManager(str(next(processor.parameters()).device), config.precision)
        self.processor = processor.to(self.devices.device)
        self.optimizer = create_optimizer(self.processor, config)
        self.run_folder = None if run_folder is None else prepare_run_folder(Path(run_folder), overwrite)
        self._extra_observers = tuple(observers)
        self._observers: list[Observer] = []

    def train(self, input_embeddings: Tensor, target_embeddings: Tensor, epochs: int | None = None) -> TrainingResult:
        """Train on two matrices, row by row.

        Args:
            input_embeddings: (N, E in), floating.
            target_embeddings: (N, E out), floating.
            epochs: passes over the rows; by default the configuration's.
        """
        return self._fit(PairSet(input_embeddings, target_embeddings), None, epochs)

    def fit(self, data: PairData, epochs: int | None = None) -> TrainingResult:
        """Train on a data set, and measure its validation split after every epoch."""
        return self._fit(data.train, Validation(data.validation, data.bank), epochs)

    @torch.no_grad()
    def predict(self, inputs: Rows) -> Tensor:
        """(N, E in) embeddings to (N, E out) float32 on the CPU, in batches, without gradients."""
        check_embeddings("inputs", inputs, self.config.input_embedding_dim)
        self.processor.eval()
        parts = [self._run(inputs[rows])[0].cpu() for rows in batch_slices(len(inputs), self.config.batch_size)]
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
        started = time.perf_counter()
        progress = _Progress(total_steps=epochs * len(list(batch_slices(len(pairs), self.config.batch_size))))
        reports: list[EpochReport] = []
        self._open_observers(progress.total_steps)
        try:
            for epoch in range(1, epochs + 1):
                with log_context(run=self.run_folder.name if self.run_folder else "-", epoch=epoch):
                    reports.append(self._run_epoch(pairs, validation, epoch, progress))
                    self._keep_weights(reports)
        finally:
            for observer in self._observers:
                observer.close()
        return TrainingResult(progress.step, time.perf_counter() - started, tuple(reports), _best_epoch(reports))

    def _run_epoch(self, pairs: PairSet, validation: Validation | None, epoch: int, progress: _Progress) -> EpochReport:
        progress.epoch, progress.epoch_loss = epoch, 0.0
        progress.pending_since = time.perf_counter()
        order = epoch_order(len(pairs), self.config.seed, epoch)
        for rows in batch_slices(len(pairs), self.config.batch_size):
            progress.step += 1
            with log_context(step=progress.step):
                progress.pending.append(self._train_step(pairs, order[rows], progress))
            if len(progress.pending) == self.config.log_every:
                self._report(progress)
        self._report(progress)
        train_loss = progress.epoch_loss / len(pairs)
        if validation is None:
            return EpochReport(epoch, train_loss, None, None)
        loss, metrics = self._validate(validation)
        record = {"step": progress.step, "epoch": epoch, "loss": loss, "train_loss": train_loss} | metrics.to_dict()
        examples = self._decode_examples(validation)
        for observer in self._observers:
            observer.validate(record, examples)
        return EpochReport(epoch, train_loss, loss, metrics)

    def _train_step(self, pairs: PairSet, rows: Tensor, progress: _Progress) -> dict[str, Tensor]:
        device = self.devices.device
        inputs, targets = (matrix.to(device) for matrix in pairs.batch(rows))
        self.processor.train()
        rate = self.config.learning_rate * learning_rate_factor(progress.step - 1, progress.total_steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            outputs, stats = self._run(inputs)
        except FloatingPointError as error:
            raise self._nonfinite(progress.step, rows, first_nonfinite(self.processor, inputs)) from error
        loss, terms = total_loss(outputs, targets, self.config)
        if not bool(torch.isfinite(loss)):
            raise self._nonfinite(progress.step, rows, first_nonfinite(self.processor, inputs))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        weights = [weight for weight in self.processor.parameters() if weight.grad is not None]
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if not bool(torch.isfinite(norm)):
            raise self._nonfinite(progress.step, rows, first_nonfinite_gradient(self.processor))
        clip_grads_with_norm_(weights, self.config.gradient_clip, norm)
        self.optimizer.step()
        log_flows(stats)
        losses = {"loss": loss} | {f"loss_{name}": term for name, term in terms.items()}
        rows_in_batch = loss.new_tensor(float(len(rows)))
        return (
            losses
            | {"gradient_norm": norm, "learning_rate": loss.new_tensor(rate), "rows": rows_in_batch}
            | _summary(stats)
        )

    def _run(self, inputs: Tensor) -> tuple[Tensor, FlowStatistics]:
        with self.devices.autocast():
            result = self.processor.run(inputs.to(self.devices.device))
        return result.output, result.stats

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

    def _report(self, progress: _Progress) -> None:
        """Bring the figures of the pending steps to the CPU in one transfer, and tell the observers."""
        if not progress.pending:
            return
        names = list(progress.pending[0])
        rows = torch.stack([torch.stack([step[name].detach().float() for name in names]) for step in progress.pending])
        figures = [dict(zip(names, row, strict=True)) for row in rows.tolist()]
        progress.epoch_loss += sum(step["loss"] * step["rows"] for step in figures)
        seconds = time.perf_counter() - progress.pending_since
        shared = {
            "epoch": progress.epoch,
            "flow_steps_per_second": sum(step["flow_steps"] for step in figures) / seconds,
            "step_seconds": seconds / len(figures),
            "memory_bytes": self.devices.memory().used,
        }
        first = progress.step - len(figures) + 1
        records: list[Figures] = [{"step": first + index} | shared | step for index, step in enumerate(figures)]
        for observer in self._observers:
            observer.observe(records)
        progress.pending, progress.pending_since = [], time.perf_counter()

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

    def _open_observers(self, total_steps: int) -> None:
        own = [] if self.run_folder is None else run_folder_observers(self.run_folder)
        self._observers = [*own, *self._extra_observers]
        if self.run_folder is not None:
            self.config.save(self.run_folder / "config.json")
        logger.info("training on %s, %d steps", self.devices.reason, total_steps)
        for observer in self._observers:
            observer.start(total_steps)

    def _keep_weights(self, reports: list[EpochReport]) -> None:
        if self.run_folder is None:
            return
        self.save(self.run_folder / "last")
        if _best_epoch(reports) == reports[-1].epoch:
            self.save(self.run_folder / "best")

    def _nonfinite(self, step: int, rows: Tensor, where: str) -> NonFiniteError:
        listed = ", ".join(map(str, rows[:8].tolist())) + (", ..." if len(rows) > 8 else "")
        return NonFiniteError(
            f"step {step}: not finite first in {where}; nothing was updated. Rows of the batch: {listed}. "
            "Look at these rows, or lower learning_rate"
        )


def prepare_run_folder(folder: Path, overwrite: bool) -> Path:
    """Make a run folder; what an earlier run left is removed with `overwrite` alone, and nothing else ever."""
    if folder.is_file():
        raise ValueError(f"run folder {folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise ValueError(f"run folder {folder} exists and is not empty; give another, or --overwrite")
        for name in RUN_FILES:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _summary(stats: FlowStatistics) -> dict[str, Tensor]:
    """The plan's figures of a batch: per sample, but for the level (per flow) and the flow-steps (in all)."""
    live = stats.live.sum()
    steps = (stats.live > 0).sum()
    return {
        "live": live / steps,
        "mean_level": (stats.mean_level * stats.live).sum() / live,
        "arrived_share": stats.arrived_share.mean(),
        "spawned": stats.spawned.sum(0).float().mean(),
        "refused": stats.refused.sum(0).float().mean(),
        "faded": stats.faded.sum(0).float().mean(),
        "path_length": stats.path_length.mean(),
        "coverage": stats.coverage.mean(),
        "flow_steps": live,
    }


def _best_epoch(reports: Sequence[EpochReport]) -> int | None:
    measured = [report for report in reports if report.validation_loss is not None]
    if not measured:
        return None
    return min(measured, key=lambda report: (report.validation_loss, report.epoch)).epoch
