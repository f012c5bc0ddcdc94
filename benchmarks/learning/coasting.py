"""What is the work of settled flows worth? Whole mazes right against flow-steps, over thresholds of `coast`.

Takes a trained model, such as that of `energy-flow train --data maze --preset grid --run runs/maze`.

    python -m benchmarks.learning.coasting runs/maze/best --box 17x17x261 --rows 100
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import parser_for, publish, write_tables
from benchmarks.learning.matching import count_parameters
from energy_flow.config import Box
from energy_flow.core import FlowProcessor
from energy_flow.data import TASKS, PairSet, make_split
from energy_flow.data.pairs import one_size
from energy_flow.training import load_model

BATCH = 50
THRESHOLDS = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1)


@torch.no_grad()
def measure(processor: FlowProcessor, task: str, pairs: PairSet, box: Box, coast: float) -> list[Any]:
    """Threshold, share right, flow-steps a row and their share of all, seconds."""
    processor.config = processor.config.replace(coast=coast)
    outputs, worked, live, started = [], 0, 0, time.perf_counter()
    for rows in torch.arange(len(pairs)).split(BATCH):
        result = processor.run(pairs.batch(rows)[0], box=box)
        outputs.append(result.output)
        worked, live = worked + int(result.stats.flow_steps), live + int(result.stats.live.sum())
    seconds = time.perf_counter() - started
    right = TASKS[task].score(pairs.inputs[:], torch.cat(outputs), pairs.targets[:], pairs.face)
    return [coast, right, worked / len(pairs), worked / live, round(seconds, 1)]


def main() -> None:
    """Measure every threshold on the same rows."""
    parser = parser_for(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--task", default="maze")
    parser.add_argument("--box", type=Box.parse, default=Box(17, 17, 261))
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    processor = load_model(options.model).eval()
    sites = processor.config.in_box(options.box).sites
    pairs = one_size(options.task, make_split(options.task, "test", options.rows, faces=[sites]))
    found = [measure(processor, options.task, pairs, options.box, coast) for coast in THRESHOLDS]
    columns = ["coast", TASKS[options.task].metric_name, "flow-steps a row", "of all", "seconds"]
    title = f"{options.task} in a box of {options.box}, {options.rows} rows: quality against work"
    path = options.results / f"coasting_{options.task}_{options.box}.json"
    publish(path, title, columns, found, parameters=count_parameters(processor))
    write_tables(path, title, columns, found)


if __name__ == "__main__":
    main()
