"""One training step: forward, loss, backward, clipping, update. Nothing is updated unless every number is finite.

Shapes: `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..config import EnergyConfig
from ..core import FlowProcessor, FlowResult, FlowStatistics, Prelude
from ..data.reading import Batch
from ..data.tasks import Waiting
from ..distributed.ranks import Ranks
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices
from ..utils.logging import logger
from .batches import Setting, setting_of
from .diagnosis import LOSS_ALONE, NonFiniteError, first_nonfinite, first_nonfinite_gradient
from .execution_plan import without_graphs
from .flow_log import log_flows
from .losses import Loss, total_loss

FINE, OUT_OF_MEMORY, NOT_FINITE, NO_ROOM = range(4)  # how an attempt ended; the worst of all processes counts
Sums = dict[str, Tensor]  # scalars on the device; those of micro-batches and processes add up to the batch's
StepFigures = dict[str, Tensor | float]  # scalars on the device, and what the host knows


class TrainingStep:
    """Takes steps of a model: in micro-batches, on one process or several, whose gradients add up to the batch's.

    Where memory runs out, activations are computed again in the backward pass instead of kept (unless `checkpointing`
    says otherwise); where that is not enough, micro-batches are halved. The step is taken again from its beginning, and
    the change stays. Processes exchange gradients only after all of them have theirs: so one that has no memory left,
    or a number that is not finite, takes the others along instead of leaving them waiting. Nothing could be exchanged
    earlier, as the weights are those of every step of the flows and their gradients are whole only at the end of the
    backward pass.

    A step waits for the device once, before the update: for whether its loss and its gradient are finite.

    Args:
        processor: the model, on its device.
        optimizer: of its parameters.
        config: losses, clipping, `accumulation` and `detect_anomaly`.
        devices: device and precision.
        ranks: the processes that train together.
        loss: what is minimised, in the form of `total_loss`; by default the configuration's losses.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        optimizer: torch.optim.Optimizer,
        config: EnergyConfig,
        devices: DeviceManager,
        ranks: Ranks,
        loss: Loss | None = None,
    ) -> None:
        self.processor, self.optimizer, self.config, self.devices = processor, optimizer, config, devices
        self.ranks, self.loss = ranks, loss
        self.micro_batches = config.accumulation
        self.waiting: Waiting | None = None  # of the task: inputs on which there is nothing to do yet
        self.progress = 0.0  # share of the run that is over
        self._setting = Setting()  # of the batch

    def __call__(self, batch: Batch) -> StepFigures:
        """Take a step on a batch, with the optimizer's rates; its figures are scalars, most of them on the device.

        Raises:
            NonFiniteError: a loss or a gradient was not finite, and nothing was updated; it names the first module.
            torch.OutOfMemoryError: a single row does not fit.
        """
        inputs, targets = batch.read()
        self._setting = setting_of(batch, inputs, self.config, self.waiting)
        self.processor.train()
        while (sums := self._attempt(inputs, targets)) is None:
            self._save_memory(len(inputs))
        norms = self._gradient_norms()
        finite = torch.stack((torch.isfinite(sums["loss"]), torch.isfinite(norms["gradient_norm"]))).tolist()
        if not all(finite):
            self._name_the_first(inputs, in_loss=not finite[0])
        weights = [weight for weight in self.processor.parameters() if weight.grad is not None]
        clip_grads_with_norm_(weights, self.config.gradient_clip, norms["gradient_norm"])
        self.optimizer.step()
        return (
            _figures(sums) | norms | {"learning_rate": self.optimizer.param_groups[0]["lr"], "rows": float(len(inputs))}
        )

    def _attempt(self, inputs: Tensor, targets: Tensor) -> Sums | None:
        """Gradients and figures of the whole batch, on every process; None where one ran out of memory."""
        sums, outcome, said = Sums(), FINE, ""
        try:
            with torch.autograd.set_detect_anomaly(True) if self.config.detect_anomaly else contextlib.nullcontext():
                sums = self._accumulate(inputs, targets)
        except torch.OutOfMemoryError as error:  # not kept: it would keep the tensors of its frames
            outcome, said = OUT_OF_MEMORY if self._can_save_memory(len(inputs)) else NO_ROOM, str(error)
        except NonFiniteError as error:
            outcome, said = NOT_FINITE, str(error)
        finally:
            self.processor.noise_source = None  # a model with a generator could not be copied
        weights = list(self.processor.parameters())
        worst, *used = self.ranks.largest([outcome, *(weight.grad is not None for weight in weights)])
        if worst == FINE:
            return self._exchange(sums, [weight for weight, some in zip(weights, used, strict=True) if some])
        if worst == OUT_OF_MEMORY:
            return None
        reason = next(words for found, words in self.ranks.everyones((outcome, said)) if found == worst)
        raise torch.OutOfMemoryError(reason) if worst == NO_ROOM else self._refuse(reason)

    def _accumulate(self, inputs: Tensor, targets: Tensor) -> Sums:
        """Gradients of this process's share of the batch's mean loss, and its figures."""
        self.optimizer.zero_grad(set_to_none=True)
        sums = Sums()
        if self.config.energy_noise:
            source = torch.Generator(self.devices.device)
            self.processor.noise_source = source.manual_seed(self._setting.seed + self.ranks.rank)
        counts, parts = self._parts(len(inputs))
        targets = self._to_device(targets)
        for rows in parts:
            share = counts * (rows.stop - rows.start) / len(inputs)
            result = self._forward(inputs, rows)
            loss, terms = self._loss(result, targets, rows)
            self._backward(loss * share, inputs, rows)
            log_flows(result.stats)
            losses = {"loss": loss.detach()} | {f"loss_{name}": term.detach() for name, term in terms.items()}
            found = {name: share * value for name, value in losses.items()}
            found |= {name: counts * value for name, value in _sums(result.stats, len(inputs)).items()}
            sums = {name: value + sums[name] if name in sums else value for name, value in found.items()}
        return sums

    def _parts(self, rows: int) -> tuple[float, list[slice]]:
        """The micro-batches of this process's share of a batch, and the weight of its rows.

        Where a batch has fewer rows than there are processes, one row is looked at twice and counts once.
        """
        own, counts = self.ranks.share(rows), 1.0
        if own.start == own.stop:
            own, counts = slice(0, 1), 0.0
        size = -(-(own.stop - own.start) // self.micro_batches)
        parts = batch_slices(own.stop - own.start, size)
        return counts, [slice(own.start + part.start, own.start + part.stop) for part in parts]

    def _to_device(self, rows: Tensor) -> Tensor:
        """Rows in the model's precision, on the device; the host does not wait for those in page-locked memory."""
        dtype = next(self.processor.parameters()).dtype
        return rows.to(self.devices.device, dtype, non_blocking=True)

    def _name_the_first(self, inputs: Tensor, in_loss: bool) -> NoReturn:
        """Look for what was not finite, now that something was: on every process, and the first that finds it counts.

        Raises:
            NonFiniteError: always.
        """
        if not in_loss:
            raise self._refuse(first_nonfinite_gradient(self.processor))
        self.optimizer.zero_grad(set_to_none=True)
        found = [self._diagnose(inputs, rows) for rows in self._parts(len(inputs))[1]]
        everywhere = [words for ranks in self.ranks.everyones(found) for words in ranks]
        raise self._refuse(next((words for words in everywhere if words != LOSS_ALONE), LOSS_ALONE))

    def _diagnose(self, inputs: Tensor, rows: slice) -> str:
        where = self._setting.box, self._prelude_of(rows)
        return first_nonfinite(self.processor, self._to_device(inputs[rows]), self.devices, *where)

    def _exchange(self, sums: Sums, used: Sequence[nn.Parameter]) -> Sums:
        """Add up gradients and figures over the processes.

        Args:
            sums: this process's figures.
            used: the parameters that have a gradient on some process.
        """
        if self.ranks.count == 1:
            return sums
        for weight in used:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        figures = torch.stack([value.double() for value in sums.values()])
        self.ranks.sum_([*(weight.grad for weight in used if weight.grad is not None), figures])
        return dict(zip(sums, figures, strict=True))

    def _forward(self, inputs: Tensor, rows: slice) -> FlowResult:
        """Run some rows of the batch's inputs (B, E)."""
        where = {"box": self._setting.box, "prelude": self._prelude_of(rows)}
        try:
            with self.devices.autocast():
                moved = self._to_device(inputs[rows])
                return self.processor(moved, whole_result=True, along=self.config.loss_along, **where)
        except FloatingPointError as error:
            raise self._refuse(self._diagnose(inputs, rows)) from error

    def _prelude_of(self, rows: slice) -> Prelude | None:
        """The prelude of some rows of the batch, on the device."""
        prelude = self._setting.prelude
        return prelude and prelude._replace(embeddings=self._to_device(prelude.embeddings[rows]))

    def _loss(self, result: FlowResult, targets: Tensor, rows: slice) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the output, or the mean of those of all that was read along the way, and its terms."""
        found, terms = self._loss_of_outputs(result, targets, rows)
        config = self.config
        if result.aim_entropy is None or self.progress >= config.aim_entropy_until or not config.aim_entropy:
            return found, terms
        weight = config.aim_entropy * (1 - self.progress / config.aim_entropy_until)
        return found - weight * result.aim_entropy, terms

    def _loss_of_outputs(self, result: FlowResult, targets: Tensor, rows: slice) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.loss or total_loss
        if result.along is None:
            return loss(result.output, targets, self.config, rows)
        found = [loss(read, targets, self.config, rows) for read in result.along]
        terms = {name: torch.stack([parts[name] for _, parts in found]).mean() for name in found[0][1]}
        return torch.stack([total for total, _ in found]).mean(), terms

    def _backward(self, loss: Tensor, inputs: Tensor, rows: slice) -> None:
        try:
            loss.backward()
        except RuntimeError as error:
            if not (self.config.detect_anomaly and "returned nan values" in str(error)):
                raise
            finite = bool(torch.isfinite(loss))
            raise self._refuse(f"the gradient: {error}" if finite else self._diagnose(inputs, rows)) from error

    def _gradient_norms(self) -> dict[str, Tensor]:
        """The norm of the whole gradient, and of each part's."""
        parts = {"gradient_norm": self.processor} | {
            f"gradient_norm_{name}": part for name, part in self.processor.named_children()
        }
        gradients = {
            name: [weight.grad for weight in part.parameters() if weight.grad is not None]
            for name, part in parts.items()
        }
        return {name: get_total_norm(found) for name, found in gradients.items() if found}

    def _can_save_memory(self, rows: int) -> bool:
        return self._can_recompute() or self.micro_batches < self._most_micro_batches(rows)

    def _can_recompute(self) -> bool:
        return self.config.checkpointing == "auto" and not self.processor.execution.checkpointed

    def _most_micro_batches(self, rows: int) -> int:
        return -(-rows // self.ranks.count)

    def _save_memory(self, rows: int) -> None:
        """Keep less from now on, or take fewer rows at once."""
        self.optimizer.zero_grad(set_to_none=True)  # before the cache is emptied, so that gradients are not kept
        self.devices.empty_cache()
        if self._can_recompute():
            self.processor.execute(replace(self.processor.execution, checkpointed=True))
            logger.warning("out of memory: activations are computed again in the backward pass from now on")
        else:
            self.micro_batches = min(self._most_micro_batches(rows), 2 * self.micro_batches)
            logger.warning("out of memory: %d micro-batches from now on, the batch stays", self.micro_batches)
            if self.processor.execution.graphed:
                self.processor.execute(without_graphs(self.processor.execution))
                logger.warning("no CUDA graphs from now on: they would hold the memory of every micro-batch")

    def _refuse(self, where: str) -> NonFiniteError:
        self.optimizer.zero_grad(set_to_none=True)
        return NonFiniteError(where)  # the trainer knows step and rows


def _sums(stats: FlowStatistics, batch: int) -> Sums:
    """The figures of some rows of a batch, as parts that add up to the whole batch's.

    Args:
        stats: of those rows.
        batch: B, rows of the whole batch.
    """
    live = stats.live.sum().float()
    counts = {name: getattr(stats, name).sum().float() / batch for name in ("spawned", "refused", "faded")}
    means = {name: getattr(stats, name).sum() / batch for name in ("arrived_share", "path_length", "coverage")}
    levels = (stats.mean_level * stats.live).sum()
    return {"flow_steps": live, "live_steps": (stats.live > 0).sum().float(), "levels": levels, **counts, **means}


def _figures(sums: Sums) -> StepFigures:
    """The figures of a whole batch from their sums."""
    kept = {name: value for name, value in sums.items() if name not in ("live_steps", "levels")}
    live = sums["flow_steps"]
    return {**kept, "live": live / sums["live_steps"], "mean_level": sums["levels"] / live}
