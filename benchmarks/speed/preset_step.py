"""How much of the machine's arithmetic does a training step of a preset reach, and how much memory does it take?

The matrix rate is measured beside it, in the same precision: square products of 4096 (1024 on a CPU), the best of ten.
Model FLOPs are those of the products of neuron, GRU and heads, forward and twice that backward; what checkpointing
computes again does not count. On a GPU, --memory-limit-gib makes the process fail where it would need more.

    python -m benchmarks.speed.preset_step --device cuda [--presets experiment optimized] [--memory-limit-gib 32]
    python -m benchmarks.speed.preset_step --batch 1 --precision bfloat16 --checkpointing on      # without one
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import ModelStep, seconds_of, wait_for
from energy_flow.config import create_config
from energy_flow.utils import DeviceManager

COLUMNS = (
    "preset", "precision", "batch", "recomputed", "compiled", "flow-steps", "step s, median", "least", "most",
    "flow-steps / s", "TFLOP / s", "matrix TFLOP / s", "share", "peak GiB",
)  # fmt: skip


class Turns(NamedTuple):
    """Steps that are taken before the clock counts, and while it does."""

    warm_up: int
    repeats: int


def matrix_rate(devices: DeviceManager) -> float:
    """TFLOP / s of a square product in the precision of a run."""
    device, size = devices.device, 4096 if devices.device.type == "cuda" else 1024
    dtype = torch.bfloat16 if devices.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    repeats = 50 if device.type == "cuda" else 3
    best = float("inf")
    for _ in range(10):
        wait_for(device)
        started = time.perf_counter()
        for _ in range(repeats):
            torch.mm(left, right)
        wait_for(device)
        best = min(best, (time.perf_counter() - started) / repeats)
    return 2 * size**3 / best / 1e12


def measure(preset: str, changes: dict[str, object], batch: int | None, device: str, turns: Turns) -> list[object]:
    config = create_config(preset, **changes)
    batch = batch or config.batch_size
    step = ModelStep(config, batch, device)
    if step.devices.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [seconds_of(step.train, step.devices.device)[0] for _ in range(sum(turns))][turns.warm_up :]
    seconds = spread(times)
    reached, rate = step.flops / seconds["median"] / 1e12, matrix_rate(step.devices)
    how = step.processor.execution
    return [
        preset,
        step.devices.precision,
        batch,
        "yes" if how.checkpointed else "no",
        "yes" if how.compiled else "no",
        step.flow_steps,
        *seconds.values(),
        step.flow_steps / seconds["median"],
        reached,
        rate,
        reached / rate,
        step.devices.memory().peak / 2**30,
    ]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--presets", nargs="+", default=["debug", "experiment", "optimized"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--checkpointing", nargs="+", default=["auto"], choices=["auto", "on", "off", "graphs"])
    parser.add_argument("--compile", default="auto", choices=["auto", "on", "off", "graphs"])
    parser.add_argument("--batch", type=int, help="of every preset; by default its own")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-limit-gib", type=float)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.memory_limit_gib is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.memory_limit_gib * 2**30 / total))
    turns = Turns(arguments.warm_up, arguments.repeats)
    table = []
    for preset in arguments.presets:
        for checkpointing in arguments.checkpointing:
            changes: dict[str, object] = {"precision": arguments.precision, "compile": arguments.compile}
            changes["checkpointing"] = checkpointing
            table.append(measure(preset, changes, arguments.batch, arguments.device, turns))
            print(table[-1], flush=True)
    publish(arguments.results / "preset_step.json", "The training step of the presets", COLUMNS, table)


if __name__ == "__main__":
    main()
