"""One training step: forward, loss, backward, clipping, update. Nothing is updated unless every number is finite.

Shapes: `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..config import EnergyConfig
from ..core import FlowProcessor, FlowStatistics
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices
from ..utils.logging import logger
from ..utils.ranks import Ranks
from .diagnosis import NonFiniteError, first_nonfinite, first_nonfinite_gradient
from .flow_log import log_flows
from .losses import total_loss

FINE, OUT_OF_MEMORY, NOT_FINITE, NO_ROOM = range(4)  # how an attempt ended; the worst of all processes counts
Sums = dict[str, tuple[Tensor, Tensor]]  # figures as sums, and what they are divided by


class TrainingStep:
    """Takes steps of a model: in micro-batches, on one process or several, whose gradients add up to the batch's.

    Where memory runs out, activations are computed again in the backward pass instead of kept (unless `checkpointing`
    says otherwise); where that is not enough, micro-batches are halved. The step is taken again from its beginning, and
    the change stays. Processes exchange gradients only after all of them have theirs: so one that has no memory left,
    or a number that is not finite, takes the others along instead of leaving them waiting. Nothing could be exchanged
    earlier, as the weights are those of every step of the flows and their gradients are whole only at the end of the
    backward pass.

    Args:
        processor: the model, on its device.
        optimizer: of its parameters.
        config: losses, clipping, `accumulation` and `detect_anomaly`.
        devices: device and precision.
        ranks: the processes that train together.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        optimizer: torch.optim.Optimizer,
        config: EnergyConfig,
        devices: DeviceManager,
        ranks: Ranks,
    ) -> None:
        self.processor, self.optimizer, self.config, self.devices = processor, optimizer, config, devices
        self.ranks = ranks
        self.micro_batches = config.accumulation

    def __call__(self, inputs: Tensor, targets: Tensor, rate: float) -> dict[str, Tensor]:
        """Take a step on (B, E in) inputs and (B, E out) targets; the figures are on the device, as scalars.

        Raises:
            NonFiniteError: a loss or a gradient was not finite, and nothing was updated; it names the first module.
            torch.OutOfMemoryError: a single row does not fit.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.processor.train()
        while (sums := self._attempt(inputs, targets)) is None:
            self._save_memory(len(inputs))
        norms = self._gradient_norms()
        if not bool(torch.isfinite(norms["gradient_norm"])):
            raise self._refuse(first_nonfinite_gradient(self.processor))
        weights = [weight for weight in self.processor.parameters() if weight.grad is not None]
        clip_grads_with_norm_(weights, self.config.gradient_clip, norms["gradient_norm"])
        self.optimizer.step()
        figures = {name: value / weight for name, (value, weight) in sums.items()} | {"flow_steps": sums["live"][0]}
        return figures | norms | {"learning_rate": torch.tensor(rate), "rows": torch.tensor(float(len(inputs)))}

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
        device, sums, own = self.devices.device, Sums(), self.ranks.share(len(inputs))
        counts = 1.0
        if own.start == own.stop:  # a batch of fewer rows than processes: one row is looked at twice and counts once
            own, counts = slice(0, 1), 0.0
        targets = targets.to(device, non_blocking=True)
        for part in batch_slices(own.stop - own.start, -(-(own.stop - own.start) // self.micro_batches)):
            rows = slice(own.start + part.start, own.start + part.stop)
            share = counts * (rows.stop - rows.start) / len(inputs)
            outputs, stats = self._forward(inputs[rows].to(device, non_blocking=True))
            loss, terms = total_loss(outputs, targets, self.config, rows)
            if not bool(torch.isfinite(loss)):
                raise self._refuse(first_nonfinite(self.processor, inputs[rows].to(device)))
            self._backward(loss * share)
            log_flows(stats)
            losses = {"loss": loss.detach()} | {f"loss_{name}": term.detach() for name, term in terms.items()}
            found = {name: (share * value, value.new_tensor(share)) for name, value in losses.items()}
            found |= {name: (counts * value, counts * weight) for name, (value, weight) in _sums(stats).items()}
            for name, (value, weight) in found.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + value, before[1] + weight)
        return sums

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
        figures = torch.stack([torch.stack(pair).double() for pair in sums.values()])
        self.ranks.sum_([*(weight.grad for weight in used if weight.grad is not None), figures])
        return {name: (value, weight) for name, (value, weight) in zip(sums, figures, strict=True)}

    def _forward(self, inputs: Tensor) -> tuple[Tensor, FlowStatistics]:
        try:
            with self.devices.autocast():
                result = self.processor.run(inputs)
        except FloatingPointError as error:
            raise self._refuse(first_nonfinite(self.processor, inputs)) from error
        return result.output, result.stats

    def _backward(self, loss: Tensor) -> None:
        try:
            loss.backward()
        except RuntimeError as error:
            if self.config.detect_anomaly and "returned nan values" in str(error):
                raise self._refuse(f"the gradient: {error}") from error
            raise

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
        if self.devices.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._can_recompute():
            self.processor.execute(replace(self.processor.execution, checkpointed=True))
            logger.warning("out of memory: activations are computed again in the backward pass from now on")
        else:
            self.micro_batches = min(self._most_micro_batches(rows), 2 * self.micro_batches)
            logger.warning("out of memory: %d micro-batches from now on, the batch stays", self.micro_batches)

    def _refuse(self, where: str) -> NonFiniteError:
        self.optimizer.zero_grad(set_to_none=True)
        return NonFiniteError(where)  # the trainer knows step and rows


def _sums(stats: FlowStatistics) -> Sums:
    """The plan's figures as sums and what they are divided by: so that those of micro-batches add up to the batch's."""
    live = stats.live.sum().float()
    samples = live.new_tensor(float(stats.live.shape[1]))
    per_sample = {
        "arrived_share": stats.arrived_share.sum(),
        "path_length": stats.path_length.sum(),
        "coverage": stats.coverage.sum(),
    }
    return {
        "live": (live, (stats.live > 0).sum().float()),
        "mean_level": ((stats.mean_level * stats.live).sum(), live),
        **{name: (getattr(stats, name).sum().float(), samples) for name in ("spawned", "refused", "faded")},
        **{name: (value.float(), samples) for name, value in per_sample.items()},
    }
