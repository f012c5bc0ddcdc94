"""Synthetic tasks with a known answer, each with its own metric.

`identity` and `rotation` show that the path is intact; in `conditional-permutation` content decides the route; in
`sudoku-4` cells must exchange what they know.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .pairs import PairData, PairSet

SPLIT_SEEDS = {"train": 1, "validation": 2, "test": 3}
BLOCKS, BLOCK_WIDTH, PERMUTATIONS = 16, 4, 4
SUDOKU_CELLS, SUDOKU_DIGITS, SUDOKU_HELD_OUT, SUDOKU_CLUES = 16, 4, 58, (4, 8)

Sampler = Callable[[int, str, torch.Generator, torch.Generator], tuple[Tensor, Tensor]]
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Task:
    """A synthetic task: how rows are drawn and how outputs are judged.

    Attributes:
        sample: (rows, split, generator of the fixed parts, generator of the rows) to inputs and targets.
        metric_name: what `metric` measures; larger is better.
        metric: (N, T) outputs and (N, T) targets to a number.
        settings: the fields of the configuration that the task needs otherwise than by default.
    """

    sample: Sampler
    metric_name: str
    metric: Metric
    settings: Mapping[str, Any]


def make_task(name: str, train_rows: int, test_rows: int = 2000, seed: int = 0) -> PairData:
    """Draw the rows of a task.

    Args:
        name: a key of `TASKS`.
        train_rows: rows of the training split.
        test_rows: rows of the validation split, and of the test split.
        seed: of the fixed parts (rotation, permutations, held-out grids) and of the rows.

    Raises:
        ValueError: no such task.
    """
    if name not in TASKS:
        raise ValueError(f"task = {name!r}; give one of {', '.join(TASKS)}")

    def part(split: str, rows: int) -> PairSet:
        fixed = torch.Generator().manual_seed(seed)
        random = torch.Generator().manual_seed(1000 * seed + SPLIT_SEEDS[split])
        return PairSet(*TASKS[name].sample(rows, split, fixed, random))

    return PairData(name, part("train", train_rows), part("validation", test_rows), part("test", test_rows))


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Share of the targets' variance that the outputs explain, over all numbers together."""
    residual = (outputs - targets).double().square().sum()
    total = (targets - targets.mean(0)).double().square().sum()
    return float(1 - residual / total)


def exact_grids(outputs: Tensor, targets: Tensor) -> float:
    """Share of the grids in which every cell's largest output is the right digit."""
    groups = (-1, SUDOKU_CELLS, SUDOKU_DIGITS)
    right = outputs.view(groups).argmax(-1) == targets.view(groups).argmax(-1)
    return float(right.all(1).double().mean())


def _identity(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(rows, BLOCKS * BLOCK_WIDTH, generator=random)
    return inputs, inputs


def _rotation(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    width = BLOCKS * BLOCK_WIDTH
    rotation = torch.linalg.qr(torch.randn(width, width, generator=fixed))[0]
    inputs = torch.randn(rows, width, generator=random)
    return inputs, inputs @ rotation


def _conditional_permutation(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The first block is one-hot and stays; it selects the permutation of the other fifteen."""
    orders = torch.stack([torch.randperm(BLOCKS - 1, generator=fixed) + 1 for _ in range(PERMUTATIONS)])
    orders = torch.cat((torch.zeros(PERMUTATIONS, 1, dtype=torch.long), orders), dim=1)
    choice = torch.randint(PERMUTATIONS, (rows,), generator=random)
    blocks = torch.randn(rows, BLOCKS, BLOCK_WIDTH, generator=random)
    blocks[:, 0] = torch.eye(PERMUTATIONS)[choice] * PERMUTATIONS**0.5  # RMS 1, as the other blocks
    permuted = blocks.gather(1, orders[choice].unsqueeze(2).expand(-1, -1, BLOCK_WIDTH))
    return blocks.flatten(1), permuted.flatten(1)


def _sudoku(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Puzzles of 4 to 8 clues with one solution; 58 of the 288 grids are solved in validation and test only."""
    grids = sudoku_grids()
    shuffled = torch.randperm(len(grids), generator=fixed)
    pool = shuffled[SUDOKU_HELD_OUT:] if split == "train" else shuffled[:SUDOKU_HELD_OUT]
    puzzles, solutions = [], []
    drawn = 0
    while drawn < rows:
        solution = grids[pool[torch.randint(len(pool), (2048,), generator=random)]]
        clue_count = torch.randint(SUDOKU_CLUES[0], SUDOKU_CLUES[1] + 1, (2048, 1), generator=random)
        shown = torch.rand(2048, SUDOKU_CELLS, generator=random).argsort(1).argsort(1) < clue_count
        unique = _count_solutions(solution, shown, grids) == 1
        puzzles.append((solution * shown)[unique])  # 0 is a blank
        solutions.append(solution[unique])
        drawn += int(unique.sum())
    puzzle, solution = torch.cat(puzzles)[:rows], torch.cat(solutions)[:rows]
    inputs = torch.eye(SUDOKU_DIGITS + 1)[puzzle].flatten(1)
    return inputs, torch.eye(SUDOKU_DIGITS)[solution - 1].flatten(1)


def _count_solutions(solution: Tensor, shown: Tensor, grids: Tensor) -> Tensor:
    """(N,) how many of all grids agree with the shown cells of each solution."""
    clues = torch.eye(SUDOKU_DIGITS + 1)[solution] * shown.unsqueeze(2)
    agreeing = clues.flatten(1) @ torch.eye(SUDOKU_DIGITS + 1)[grids].flatten(1).T
    return (agreeing == shown.sum(1, keepdim=True)).sum(1)


@lru_cache(maxsize=1)
def sudoku_grids() -> Tensor:
    """(288, 16) int64: every valid 4 x 4 sudoku, digits 1 to 4, row by row."""
    rows = list(itertools.permutations(range(1, SUDOKU_DIGITS + 1)))
    valid = [
        top + second + third + last
        for top, second, third, last in itertools.product(rows, repeat=4)
        if _columns_differ(top, second, third, last) and _boxes_differ(top, second) and _boxes_differ(third, last)
    ]
    return torch.tensor(valid)


def _columns_differ(*rows: tuple[int, ...]) -> bool:
    return all(len(set(column)) == SUDOKU_DIGITS for column in zip(*rows, strict=True))


def _boxes_differ(upper: tuple[int, ...], lower: tuple[int, ...]) -> bool:
    return all(len({*upper[start : start + 2], *lower[start : start + 2]}) == SUDOKU_DIGITS for start in (0, 2))


_REGRESSION = {"mapping": "mixed", "loss_mse": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
_CELLS = {
    "mapping": "local",
    "loss_cross_entropy": 1.0,
    "loss_cosine": 0.0,
    "loss_contrastive": 0.0,
    "target_classes": SUDOKU_DIGITS,
}
TASKS: dict[str, Task] = {
    "identity": Task(_identity, "R2", r_squared, _REGRESSION),
    "rotation": Task(_rotation, "R2", r_squared, _REGRESSION),
    "conditional-permutation": Task(_conditional_permutation, "R2", r_squared, _REGRESSION),
    "sudoku-4": Task(_sudoku, "exact grids", exact_grids, _CELLS),
}
