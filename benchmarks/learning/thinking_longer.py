"""Does a trained lattice solve more where it takes more steps than in training?

The same weights and rows, in deeper and deeper boxes. The models are those of all seeds that
`benchmarks.learning.shipped_models` has trained here, or else the one of the package. Intervals are 95 %, bootstrap
over seeds and rows; work counts flow-steps of neuron and carrier, without those that coast.

    python -m benchmarks.learning.thinking_longer --model sudoku-6 --split few-clues
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import parser_for, publish, write_tables
from benchmarks.learning.board.judging import headline, losses_of
from benchmarks.learning.matching import count_parameters
from benchmarks.learning.shipped_models import scores_of
from energy_flow.core import FlowProcessor
from energy_flow.data import TASKS, PairSet, make_split
from energy_flow.data.pairs import one_size
from energy_flow.models import facts_of, folder_of
from energy_flow.training import load_model

BATCH = 100
FACTORS = (1, 1.5, 2, 4, 8)  # of the steps of training


@torch.no_grad()
def judged(processor: FlowProcessor, task: str, pairs: PairSet, steps: int) -> tuple[Tensor, float]:
    """(N, 2) what is lost in every row within so many steps, and the flow-steps that a row took."""
    box, outputs, work = processor.config.box._replace(depth=steps + 1), [], 0
    for rows in torch.arange(len(pairs)).split(BATCH):
        result = processor.run(pairs.batch(rows)[0], box=box)
        outputs.append(result.output)
        work += int(result.stats.flow_steps)
    return losses_of(task, torch.cat(outputs), pairs), work / len(pairs)


def row_of(models: list[FlowProcessor], task: str, pairs: PairSet, steps: int) -> list[Any]:
    """Steps, score, its interval, flow-steps a row."""
    found = [judged(model, task, pairs, steps) for model in models]
    score = scores_of([{"all": losses} for losses, _ in found])["all"]
    return [steps, score["score"], *score["interval"], round(sum(work for _, work in found) / len(found), 1)]


def main() -> None:
    """Measure every depth on the same rows."""
    parser = parser_for(__doc__)
    parser.add_argument("--model", default="sudoku-6")
    parser.add_argument("--split", default="few-clues")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = facts_of(options.model)["data"]
    seeds: list[Path] = sorted((options.results / "shipped_models" / options.model).glob("seed-*"))
    models = [load_model(folder).eval() for folder in seeds or [folder_of(options.model)]]
    pairs = one_size(task, make_split(task, options.split, options.rows, models[0].config.data_seed))
    steps = [round(factor * models[0].config.untrained_path) for factor in FACTORS]
    found = [row_of(models, task, pairs, one) for one in steps]
    columns = ["steps", TASKS[task].metric_name, "from", "to", "flow-steps a row"]
    title = f"{task}, {options.split}: {headline(task)} of {len(models)} seeds, by the steps that the lattice takes"
    path = options.results / f"thinking_longer_{options.model}_{options.split}.json"
    publish(path, title, columns, found, parameters=count_parameters(models[0]), test_rows=len(pairs))
    write_tables(path, title, columns, found)


if __name__ == "__main__":
    main()
