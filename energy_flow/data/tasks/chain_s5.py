"""Chain of permutations of five things: what they make together, up to every cell; the length is free.

No bounded number of parallel steps solves this for every length, if circuits are what they are held to be (Barrington
1989; Merrill, Petty and Sabharwal 2024): the state must be carried along the line.

Shapes: `N` chains, `S` cells of a chain; `E` = 5 S input width, `T` = 120 S target width.
"""

from __future__ import annotations

import itertools
from functools import lru_cache, partial

import torch
from torch import Tensor

from ..pairs import Size
from .judging import CELL_CLASSES, whole_rows
from .task import MADE_HERE, Task, check_line

THINGS = 5
MOVES = (  # place i takes what lay at place move[i]: the first place changes with another one, or all go round
    (1, 0, 2, 3, 4),
    (2, 1, 0, 3, 4),
    (3, 1, 2, 0, 4),
    (4, 1, 2, 3, 0),
    (1, 2, 3, 4, 0),
)
PRODUCTS = 120  # all permutations of five things; these moves reach every one


def sample_chain_s5(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator, *, face: Size = (16, 1)
) -> tuple[Tensor, Tensor]:
    """Draw chains of moves, one-hot per cell, (N, E), and what they make one after another, (N, T).

    The target of a cell is one-hot: the number, in lexicographic order, of the arrangement of five things after the
    moves up to this cell. With 120 numbers a cell, 1 000 chains of 256 cells take 123 MB.

    Raises:
        ValueError: `face`, which is columns and rows of cells, has more rows than one.
    """
    check_line("face", face)
    moves = torch.randint(len(MOVES), (rows, face[0]), generator=random)
    state, states = torch.zeros(rows, dtype=torch.long), []
    for column in moves.unbind(dim=1):
        state = move_table()[state, column]
        states.append(state)
    return torch.eye(len(MOVES))[moves].flatten(1), torch.eye(PRODUCTS)[torch.stack(states, dim=1)].flatten(1)


@lru_cache(maxsize=1)
def move_table() -> Tensor:
    """(120, 5) int64: the arrangement that each move makes of each arrangement, both by their number."""
    arrangements = list(itertools.permutations(range(THINGS)))  # in lexicographic order; the first one is untouched
    number = {arrangement: index for index, arrangement in enumerate(arrangements)}
    moved = [[number[tuple(before[place] for place in move)] for move in MOVES] for before in arrangements]
    return torch.tensor(moved)


CHAIN_S5 = Task(
    "a chain of permutations of five things, one-hot among five; per cell the product up to it, one-hot among 120",
    sample_chain_s5,
    "whole chains",
    partial(whole_rows, classes=PRODUCTS),
    CELL_CLASSES | {"target_classes": PRODUCTS},
    licence=MADE_HERE,
    face=(16, 1),
    train_sizes=((16, 1),),
    test_sizes=((64, 1), (256, 1)),
)
