"""How far is a training step from the matrix products that it cannot do without?

The floor runs the products of neuron, GRU and heads alone, forward and backward, on as many rows as lived in each step
of the model's own run, and then the same optimizer. At launch all hidden states are zeros, so the first step has no
products with them, neither here nor there. Model and floor take turns. The model is of `debug`'s shape with as many
rows in a step as asked for, its hidden size given.

    python -m benchmarks.speed.step_floor [--hidden 256 1024] [--rows 2048] [--repeats 5] [--precision float32]
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import ModelStep, seconds_of
from energy_flow.config import EnergyConfig, create_debug_config
from energy_flow.core import FlowProcessor
from energy_flow.core.execution.weights import take_weights
from energy_flow.utils import DeviceManager

COLUMNS = (
    "hidden", "precision", "rows in a step", "flow-steps", "model s, median", "least", "most", "floor s, median",
    "floor / model", "least share", "most share",
)  # fmt: skip


def products_of(processor: FlowProcessor, at_rest: bool = False) -> list[Tensor]:
    """Copies of the matrices that every row is multiplied with in a step; `at_rest` in the first one."""
    taken = take_weights(processor.neuron, processor.carrier)
    project = [] if taken.project is None else [taken.project[0]]
    gru = [weight for layer in taken.layers for weight in (layer.weight_ih, layer.weight_hh)]
    gru = gru[::2] if at_rest else gru
    found = [taken.perceive, *project, *gru, processor.carrier.heads.weight]
    return [weight.detach().float().requires_grad_() for weight in found]


def run_products(
    weights: Sequence[Tensor],
    at_rest: Sequence[Tensor],
    noise: dict[int, Tensor],
    rows_per_step: Sequence[int],
    devices: DeviceManager,
) -> None:
    """Forward and backward of every product of every step: gradients for rows and weights."""
    for step, rows in enumerate(rows_per_step):
        for weight in at_rest if step == 0 else weights:
            outputs_wide, inputs_wide = weight.shape
            inputs = noise[inputs_wide][:rows].detach().requires_grad_()
            with devices.autocast():
                outputs = F.linear(inputs, weight)
            outputs.backward(noise[outputs_wide][:rows].to(outputs.dtype))


def measure(config: EnergyConfig, rows: int, repeats: int, device: str) -> list[object]:
    step = ModelStep(config, -(-rows // config.num_sites), device)
    step.train()
    assert step.stats is not None
    rows_per_step = step.stats.live.sum(1).tolist()
    weights, at_rest = products_of(step.processor), products_of(step.processor, at_rest=True)
    widths = {wide for weight in weights for wide in weight.shape}
    noise = {wide: torch.randn(max(rows_per_step), wide, device=step.devices.device) for wide in widths}

    def floor() -> None:
        for weight in (*weights, *at_rest):
            weight.grad = None
        run_products(weights, at_rest, noise, rows_per_step, step.devices)
        step.optimizer.step()  # with the gradients that the model's step left

    model_seconds, floor_seconds = [], []
    for repeat in range(-2, repeats):  # the first two warm up
        mine, _ = seconds_of(step.train, step.devices.device)
        least, _ = seconds_of(floor, step.devices.device)
        if repeat >= 0:
            model_seconds.append(mine)
            floor_seconds.append(least)
    shares = [least / mine for least, mine in zip(floor_seconds, model_seconds, strict=True)]
    return [
        config.carrier_hidden_size,
        step.devices.precision,
        rows_per_step[0],
        sum(rows_per_step),
        *spread(model_seconds).values(),
        statistics.median(floor_seconds),
        *spread(shares).values(),
    ]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--hidden", nargs="+", type=int, default=[256, 1024])
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    table = []
    for hidden in arguments.hidden:
        for precision in arguments.precision:
            config = create_debug_config(carrier_hidden_size=hidden, precision=precision)
            table.append(measure(config, arguments.rows, arguments.repeats, arguments.device))
    publish(arguments.results / "step_floor.json", "training step against its products", COLUMNS, table)


if __name__ == "__main__":
    main()
