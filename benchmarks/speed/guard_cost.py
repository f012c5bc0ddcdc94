"""What do logging, checkpoints and guards cost beside the bare loop?

The bare loop is forward, loss, backward, clipping and update, and nothing else: no check, no figure, no file. The
trainer does all that it does by default, with a run folder and a checkpoint every 100 steps. Both take the same steps
on the same rows, in turns, and their weights must end equal.

    python -m benchmarks.speed.guard_cost [--steps 200] [--repeats 5]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import parser_for, publish, spread
from benchmarks.learning.baselines import train
from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairSet, load_shipped
from energy_flow.training import EnergyTrainer

COLUMNS = ("loop", "seconds a step, median", "least", "most", "beside the bare loop")


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    config = create_tiny_config(checkpoint_every=100)
    shipped = load_shipped().train
    rows = torch.arange(arguments.steps * config.batch_size) % len(shipped)
    pairs = PairSet(*shipped.batch(rows))
    seconds: dict[str, list[float]] = {"bare": [], "trainer": []}
    for repeat in range(-1, arguments.repeats):  # the first warms up
        bare, guarded = create_processor(config), create_processor(config)
        started = time.perf_counter()
        train(bare, pairs, config, 1)
        middle = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            EnergyTrainer(guarded, config, Path(folder) / "run").train(pairs.inputs[:], pairs.targets[:], 1)
        ended = time.perf_counter()
        same = all(
            torch.allclose(one, other) for one, other in zip(bare.parameters(), guarded.parameters(), strict=True)
        )
        assert same, "the two loops do not take the same steps"
        if repeat >= 0:
            seconds["bare"].append((middle - started) / arguments.steps)
            seconds["trainer"].append((ended - middle) / arguments.steps)
    beside = [mine / bare for mine, bare in zip(seconds["trainer"], seconds["bare"], strict=True)]
    table = [[name, *spread(values).values(), "-"] for name, values in seconds.items()]
    table[1][-1] = f"{statistics.median(beside):.3f} ({min(beside):.3f} to {max(beside):.3f})"
    title = f"tiny on the shipped data, {arguments.steps} steps, {arguments.repeats} repeats"
    publish(arguments.results / "guard_cost.json", title, COLUMNS, table)


if __name__ == "__main__":
    main()
