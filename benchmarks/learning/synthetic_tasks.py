"""Does the lattice learn what a linear map cannot? 2 000 steps of 128 on each synthetic task, about 57 000 parameters.

One configuration for all tasks but for what the task decides: widths, loss, and the start of the faces.

    python -m benchmarks.learning.synthetic_tasks [--tasks rotation sudoku-4] [--seeds 0 1 2] [--steps 2000]
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.common import parser_for, publish
from benchmarks.learning.rivals import ridge
from energy_flow.config import EnergyConfig
from energy_flow.core import create_processor
from energy_flow.data import TASKS, make_task
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import data_settings
from energy_flow.training import EnergyTrainer
from energy_flow.training.run.observers import Example, Figures

BATCH = 128
CONFIG: dict[str, Any] = {
    "lattice_width": 8,
    "lattice_height": 8,
    "lattice_depth": 8,
    "sites": (4, 4),
    "energy_dim": 8,
    "max_active_flows": 32,
    "max_spawn_per_step": 4,
    "initial_steps": 7,
    "carrier_hidden_size": 64,
    "carrier_num_layers": 1,
    "neuron_output_dim": 64,
    "batch_size": BATCH,
    "learning_rate": 4e-3,
}
COLUMNS = (
    "task",
    "seed",
    "metric",
    "lattice",
    "linear",
    "parameters",
    "least coverage",
    "path length",
    "seconds per step",
)


class Watch:
    """Keeps the coverage of every step and the newest figures."""

    def __init__(self) -> None:
        self.coverage: list[float] = []

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records: Sequence[Figures]) -> None:
        self.coverage += [record["coverage"] for record in records]
        self.last = records[-1]

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        pass

    def close(self) -> None:
        pass


def run(name: str, seed: int, steps: int) -> list[Any]:
    data, task = make_task(name, steps * BATCH, seed=seed), TASKS[name]
    config = EnergyConfig.from_dict(CONFIG | data_settings(data) | {"seed": seed})
    learned, validation, test = (one_size(name, part) for part in (data.train, data.validation, data.test))
    processor, watch = create_processor(config), Watch()
    trainer = EnergyTrainer(processor, config, observers=[watch])
    started = time.perf_counter()
    trainer.fit(data, epochs=1)
    seconds = (time.perf_counter() - started) / steps
    score = task.metric(trainer.predict(test.inputs), test.targets[:])
    parameters = sum(weight.numel() for weight in processor.parameters())
    linear = task.metric(ridge(learned, validation, test.inputs[:]), test.targets[:])
    figures = [score, linear, parameters, min(watch.coverage), watch.last["path_length"], seconds]
    return [name, seed, task.metric_name, *figures]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument(
        "--tasks", nargs="+", default=["rotation", "conditional-permutation", "sudoku-4"], choices=TASKS
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [run(task, seed, arguments.steps) for task in arguments.tasks for seed in arguments.seeds]
    publish(
        arguments.results / "synthetic_tasks.json",
        f"{arguments.steps} training steps of {BATCH}",
        COLUMNS,
        rows,
        configuration=CONFIG,
    )


if __name__ == "__main__":
    main()
