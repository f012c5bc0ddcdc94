"""A training step as the trainer runs it, in pieces that can be timed: what the benchmarks of speed share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from energy_flow.config import EnergyConfig
from energy_flow.core import FlowProcessor, FlowStatistics, create_processor
from energy_flow.core.execution.cost import measure_cost
from energy_flow.training.execution_plan import plan_execution
from energy_flow.training.optimizers import create_optimizer
from energy_flow.utils import DeviceManager

Result = TypeVar("Result")


class ModelStep:
    """A fresh model on a device, run as `plan_execution` says, and a batch of random rows of unit length.

    The learning rate is 0: the same work at every repeat, on the same weights.
    """

    def __init__(self, config: EnergyConfig, batch: int, device: str) -> None:
        self.config, self.devices = config, DeviceManager(device, config.precision)
        self.processor: FlowProcessor = create_processor(config).to(self.devices.device)
        weights = sum(weight.numel() for weight in self.processor.parameters())
        self.processor.execute(plan_execution(config, self.devices, weights, batch).execution)
        self.optimizer = create_optimizer(self.processor, config)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(batch, config.input_embedding_dim, generator=generator)
        self.inputs = F.normalize(rows).to(self.devices.device)
        self.stats: FlowStatistics | None = None

    def forward(self) -> Tensor:
        with self.devices.autocast():
            result = self.processor.run(self.inputs)
        self.stats = result.stats
        return result.output.square().sum()

    def train(self) -> None:
        """The whole step."""
        self.optimizer.zero_grad()
        self.forward().backward()
        self.optimizer.step()

    def timed(self) -> tuple[float, float, float]:
        """Seconds of forward, backward and optimizer."""
        self.optimizer.zero_grad()
        forward, loss = seconds_of(self.forward, self.devices.device)
        backward, _ = seconds_of(loss.backward, self.devices.device)
        optimizer, _ = seconds_of(self.optimizer.step, self.devices.device)
        return forward, backward, optimizer

    @property
    def flow_steps(self) -> int:
        """Of the last forward pass."""
        assert self.stats is not None
        return int(self.stats.flow_steps)

    @property
    def flops(self) -> int:
        """Of the products of neuron, GRU and heads in a training step: forward, and twice that backward. The first
        step of a flow has no products with its hidden state, and none are counted.
        """
        parts = measure_cost(self.config).forward_flops
        each = sum(count for part, count in parts.items() if part != "faces")
        recurrent = 2 * 3 * self.config.carrier_hidden_size**2 * self.config.carrier_num_layers
        return 3 * (each * self.flow_steps - recurrent * self.config.num_sites * len(self.inputs))


def seconds_of(work: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """How long something takes, the device's work included, and what it gives."""
    wait_for(device)
    started = time.perf_counter()
    result = work()
    wait_for(device)
    return time.perf_counter() - started, result


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
