"""Sudoku of 4 x 4: cells must exchange what they know.

Shapes: `N` rows, `G` = 288 grids, 16 cells a grid; `E` = 80 input width (5 a cell: blank or a digit), `T` = 64 target
width (4 a cell).
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from .judging import CLASSES, whole_rows
from .task import MADE_HERE, Task

CELLS, DIGITS, HELD_OUT, CLUES = 16, 4, 58, (4, 8)
DRAWN = 2048  # puzzles at a time


def sample_sudoku(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw (N, E) puzzles of 4 to 8 clues with one solution, (N, T).

    58 of the 288 grids are solved in validation and test only.
    """
    grids = sudoku_grids()
    shuffled = torch.randperm(len(grids), generator=fixed)
    pool = shuffled[HELD_OUT:] if split == "train" else shuffled[:HELD_OUT]
    puzzles, solutions = [], []
    drawn = 0
    while drawn < rows:
        solution = grids[pool[torch.randint(len(pool), (DRAWN,), generator=random)]]
        clue_count = torch.randint(CLUES[0], CLUES[1] + 1, (DRAWN, 1), generator=random)
        shown = torch.rand(DRAWN, CELLS, generator=random).argsort(1).argsort(1) < clue_count
        unique = _count_solutions(solution, shown, grids) == 1
        puzzles.append((solution * shown)[unique])  # 0 is a blank
        solutions.append(solution[unique])
        drawn += int(unique.sum())
    puzzle, solution = torch.cat(puzzles)[:rows], torch.cat(solutions)[:rows]
    inputs = torch.eye(DIGITS + 1)[puzzle].flatten(1)
    return inputs, torch.eye(DIGITS)[solution - 1].flatten(1)


def exact_grids(outputs: Tensor, targets: Tensor) -> float:
    """Share of the grids in which every cell's largest output is the right digit; both are (N, T)."""
    return whole_rows(outputs, targets, DIGITS)


@lru_cache(maxsize=1)
def sudoku_grids() -> Tensor:
    """List every valid 4 x 4 sudoku: (G, 16) int64, digits 1 to 4, row by row."""
    rows = list(itertools.permutations(range(1, DIGITS + 1)))
    valid = [
        top + second + third + last
        for top, second, third, last in itertools.product(rows, repeat=4)
        if _columns_differ(top, second, third, last) and _boxes_differ(top, second) and _boxes_differ(third, last)
    ]
    return torch.tensor(valid)


def _count_solutions(solution: Tensor, shown: Tensor, grids: Tensor) -> Tensor:
    """(N,) how many of all grids agree with the shown cells of each solution."""
    clues = torch.eye(DIGITS + 1)[solution] * shown.unsqueeze(2)
    agreeing = clues.flatten(1) @ torch.eye(DIGITS + 1)[grids].flatten(1).T
    return (agreeing == shown.sum(1, keepdim=True)).sum(1)


def _columns_differ(*rows: tuple[int, ...]) -> bool:
    return all(len(set(column)) == DIGITS for column in zip(*rows, strict=True))


def _boxes_differ(upper: tuple[int, ...], lower: tuple[int, ...]) -> bool:
    return all(len({*upper[start : start + 2], *lower[start : start + 2]}) == DIGITS for start in (0, 2))


SUDOKU_4 = Task(
    "puzzles of 4 x 4 with 4 to 8 clues and one solution, one-hot per cell; the solution, one-hot per cell",
    sample_sudoku,
    "exact grids",
    exact_grids,
    CLASSES | {"target_classes": DIGITS},
    licence=MADE_HERE,
)
