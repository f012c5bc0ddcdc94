"""What do logging, checkpoints and guards cost beside the bare loop?

The bare loop is forward, loss, backward, clipping and update, and nothing else: no check, no figure, no file. The
trainer does all that it does by default, with a run folder and a checkpoint every 100 steps; and once more with
everything on: averaged weights, a callback, a progress bar, and a report every step. All take the same steps on the
same rows, in turns, and their weights must end equal to rounding.

    python -m benchmarks.speed.guard_cost [--steps 200] [--repeats 5]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.common import parser_for, publish, spread
from benchmarks.learning.training import train
from energy_flow.config import EnergyConfig, create_tiny_config
from energy_flow.core import FlowProcessor, create_processor
from energy_flow.data import PairSet, load_shipped
from energy_flow.training import Callback, EnergyTrainer, ProgressBar

COLUMNS = ("loop", "seconds a step, median", "least", "most", "beside the bare loop")


def train_in_a_run(
    model: FlowProcessor, pairs: PairSet, config: EnergyConfig, callbacks: Sequence[Callback] = ()
) -> None:
    with tempfile.TemporaryDirectory() as folder, Path(folder, "out").open("w") as out:
        bar = [ProgressBar(Console(file=out))] if callbacks else []
        trainer = EnergyTrainer(model, config, Path(folder) / "run", observers=bar, callbacks=callbacks)
        trainer.train(pairs.inputs[:], pairs.targets[:], 1)


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    config = create_tiny_config(checkpoint_every=100)
    shipped = load_shipped().train
    rows = torch.arange(arguments.steps * config.batch_size) % len(shipped)
    pairs = PairSet(*shipped.batch(rows))
    loops: dict[str, Callable[[FlowProcessor], object]] = {
        "bare": lambda model: train(model, pairs, config, 1),
        "trainer": lambda model: train_in_a_run(model, pairs, config),
        "trainer, everything on": lambda model: train_in_a_run(
            model, pairs, config.replace(ema_decay=0.999, log_every=1), callbacks=[Callback()]
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for repeat in range(-1, arguments.repeats):  # the first warms up
        models = {name: create_processor(config) for name in loops}
        for name, loop in loops.items():
            started = time.perf_counter()
            loop(models[name])
            if repeat >= 0:
                seconds[name].append((time.perf_counter() - started) / arguments.steps)
        for one, *others in zip(*(model.parameters() for model in models.values()), strict=True):
            assert all(torch.allclose(one, other) for other in others), "the loops do not take the same steps"
    table = []
    for name, values in seconds.items():
        beside = [mine / bare for mine, bare in zip(values, seconds["bare"], strict=True)]
        ratio = "-" if name == "bare" else f"{statistics.median(beside):.3f} ({min(beside):.3f} to {max(beside):.3f})"
        table.append([name, *spread(values).values(), ratio])
    title = f"tiny on the shipped data, {arguments.steps} steps, {arguments.repeats} repeats"
    publish(arguments.results / "guard_cost.json", title, COLUMNS, table)


if __name__ == "__main__":
    main()
