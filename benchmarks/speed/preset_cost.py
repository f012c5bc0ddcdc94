"""What does one forward and backward pass of each preset cost, with its full sizes, at batch 1?

Every preset runs in a process of its own, so that its peak memory is its own.

    python -m benchmarks.speed.preset_cost [--presets debug experiment optimized] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch

from benchmarks.common import parser_for, publish, spread
from energy_flow.config import create_config
from energy_flow.core import create_processor
from energy_flow.utils import DeviceManager

COLUMNS = (
    "preset", "parameters", "flow-steps", "most live", "steps", "forward s", "backward s", "forward min-max",
    "backward min-max",
    "peak GiB",
)  # fmt: skip


def measure(preset: str, repeats: int, fill: bool) -> list[Any]:
    """Fresh weights; energies a little above the mean, so that the budget for children binds from the first step."""
    config = create_config(preset)
    if fill:  # as many children in the first steps as the budget holds
        config = config.replace(max_spawn_per_step=config.max_active_flows)
    processor = create_processor(config)
    inputs = 1.5 * torch.nn.functional.normalize(
        torch.randn(1, config.input_embedding_dim, generator=torch.Generator().manual_seed(0))
    )
    forward, backward, stats = [], [], processor.run(inputs).stats  # the first pass warms up
    for _ in range(repeats):
        processor.zero_grad()
        started = time.perf_counter()
        result = processor.run(inputs)
        middle = time.perf_counter()
        result.output.square().sum().backward()
        forward.append(middle - started)
        backward.append(time.perf_counter() - middle)
    times = [spread(forward), spread(backward)]
    return [
        f"{preset}, budget filled" if fill else preset,
        sum(weight.numel() for weight in processor.parameters()),
        int(stats.flow_steps),
        int(stats.live.max()),
        stats.steps,
        *(one["median"] for one in times),
        *(f"{one['min']:.2f}-{one['max']:.2f}" for one in times),
        DeviceManager("cpu").memory().peak / 2**30,
    ]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", "debug", "experiment", "optimized"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fill", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.repeats, arguments.fill)))
        return
    rows = []
    for preset in arguments.presets:
        command = [sys.executable, "-m", "benchmarks.speed.preset_cost", "--child", preset]
        command += ["--repeats", str(arguments.repeats)]
        for more in ([], ["--fill"]):
            rows.append(
                json.loads(subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout)
            )
    publish(
        arguments.results / "preset_cost.json", "Forward and backward of each preset, batch 1, float32", COLUMNS, rows
    )


if __name__ == "__main__":
    main()
