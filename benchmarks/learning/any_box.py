"""Does one set of weights work in any box? The preset `grid`, trained on small faces and judged on large ones.

Every seed is trained on the task's small sizes and judged, by the averaged weights, on rows that it has never seen, in
boxes that are larger and deeper; with `coast` as the preset has it.

    python -m benchmarks.learning.any_box --task maze --seeds 0 1 2
    python -m benchmarks.learning.any_box --task flood --seeds 0 1
"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.common import parser_for, publish, write_tables
from benchmarks.learning.matching import count_parameters
from energy_flow.config import PRESETS, Box, create_config
from energy_flow.core import create_processor
from energy_flow.data import TASKS, load_data, make_split
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import settings_with_room
from energy_flow.training import EnergyTrainer

TRIALS = {  # side of the face, steps, rows
    "maze": ((5, 31, 200), (7, 54, 200), (9, 84, 200), (13, 157, 200), (17, 260, 200), (33, 600, 48)),
    "flood": ((8, 24, 200), (12, 48, 200), (16, 78, 200), (24, 155, 100), (48, 500, 24)),
}


def measure(task: str, seed: int) -> tuple[dict[str, Any], list[list[Any]]]:
    """What was trained, and a row for each size: side, steps, rows, share right, work per row."""
    data = load_data(task, 0)
    config = create_config("grid", **settings_with_room(PRESETS["grid"], data) | {"seed": seed})
    processor = create_processor(config)
    trainer, started, busy = EnergyTrainer(processor, config), time.perf_counter(), time.process_time()
    trainer.fit(data)
    run = {
        "seed": seed,
        "parameters": count_parameters(processor),
        "seconds": round(time.perf_counter() - started),
        "processor seconds": round(time.process_time() - busy),
    }
    rows = []
    for side, steps, count in TRIALS[task]:
        pairs = one_size(task, make_split(task, "test", count, 0, [(side, side)]))
        outputs = trainer.predict(pairs.inputs, Box(side, side, steps + 1))
        right = TASKS[task].score(pairs.inputs[:], outputs, pairs.targets[:], pairs.face)
        rows.append([side, steps, count, round(right, 4)])
        print(f"seed {seed}, {side} x {side}, {steps} steps: {right:.4f}", flush=True)
    return run, rows


def main() -> None:
    """Measure every seed."""
    parser = parser_for(__doc__)
    parser.add_argument("--task", choices=TRIALS, default="maze")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs, tables = zip(*(measure(options.task, seed) for seed in options.seeds), strict=True)
    columns = ["side", "steps", "rows", *(f"seed {run['seed']}" for run in runs)]
    rows = [[*lines[0][:3], *(line[3] for line in lines)] for lines in zip(*tables, strict=True)]
    title = f"{options.task}: {TASKS[options.task].metric_name} right, with {runs[0]['parameters']} parameters"
    path = options.results / f"any_box_{options.task}.json"
    publish(path, title, columns, rows, runs=list(runs))
    write_tables(path, title, columns, rows, **{f"seed {run['seed']}": f"{run['seconds']} s" for run in runs})


if __name__ == "__main__":
    main()
