"""One training step: forward, loss, backward, clipping, update. Nothing is updated unless every number is finite.

Shapes: `B` rows of a batch, `E` embedding width.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..config import EnergyConfig
from ..core import FlowProcessor, FlowStatistics
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices
from ..utils.logging import logger
from .diagnosis import NonFiniteError, first_nonfinite, first_nonfinite_gradient
from .flow_log import log_flows
from .losses import total_loss


class TrainingStep:
    """Takes steps of a model: in micro-batches whose gradients add up to the batch's.

    A micro-batch that does not fit into the accelerator's memory is halved, and the step is taken again from its
    beginning; the smaller size then stays.

    Args:
        processor: the model, on its device.
        optimizer: of its parameters.
        config: losses, clipping, `accumulation` and `detect_anomaly`.
        devices: device and precision.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        optimizer: torch.optim.Optimizer,
        config: EnergyConfig,
        devices: DeviceManager,
    ) -> None:
        self.processor, self.optimizer, self.config, self.devices = processor, optimizer, config, devices
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
        while True:
            try:
                with (
                    torch.autograd.set_detect_anomaly(True) if self.config.detect_anomaly else contextlib.nullcontext()
                ):
                    figures = self._accumulate(inputs, targets)
                break
            except torch.OutOfMemoryError:
                if self.micro_batches >= len(inputs):
                    raise
                self._halve(len(inputs))
        norms = self._gradient_norms()
        if not bool(torch.isfinite(norms["gradient_norm"])):
            raise self._refuse(first_nonfinite_gradient(self.processor))
        weights = [weight for weight in self.processor.parameters() if weight.grad is not None]
        clip_grads_with_norm_(weights, self.config.gradient_clip, norms["gradient_norm"])
        self.optimizer.step()
        return figures | norms | {"learning_rate": torch.tensor(rate), "rows": torch.tensor(float(len(inputs)))}

    def _accumulate(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Gradients of the batch's mean loss, and its figures."""
        self.optimizer.zero_grad(set_to_none=True)
        device, sums = self.devices.device, dict[str, tuple[Tensor, Tensor]]()
        targets = targets.to(device)
        for rows in batch_slices(len(inputs), -(-len(inputs) // self.micro_batches)):
            part = inputs[rows].to(device)
            share = len(part) / len(inputs)
            outputs, stats = self._forward(part)
            loss, terms = total_loss(outputs, targets, self.config, rows)
            if not bool(torch.isfinite(loss)):
                raise self._refuse(first_nonfinite(self.processor, part))
            self._backward(loss * share)
            log_flows(stats)
            losses = {"loss": loss.detach()} | {f"loss_{name}": term.detach() for name, term in terms.items()}
            found = {name: (share * value, value.new_tensor(share)) for name, value in losses.items()}
            for name, (value, weight) in (found | _sums(stats)).items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + value, before[1] + weight)
        return {name: value / weight for name, (value, weight) in sums.items()} | {"flow_steps": sums["live"][0]}

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

    def _halve(self, rows: int) -> None:
        self.micro_batches = min(rows, 2 * self.micro_batches)
        self.optimizer.zero_grad(set_to_none=True)  # before the cache is emptied, so that gradients are not kept
        if self.devices.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory: %d micro-batches from now on, the batch stays", self.micro_batches)

    def _refuse(self, where: str) -> NonFiniteError:
        self.optimizer.zero_grad(set_to_none=True)
        return NonFiniteError(where)  # the trainer knows step and rows


def _sums(stats: FlowStatistics) -> dict[str, tuple[Tensor, Tensor]]:
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
