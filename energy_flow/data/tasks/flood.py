"""Flood: what is connected with the source, among cells of which some are blocked; the size is free.

Shapes: `N` floods, `S` cells, numbered row by row; `E` = 3 S input width, `T` = 2 S target width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..pairs import Size
from .grid import distances, neighbours
from .judging import CELL_CLASSES, class_of_cells, whole_rows
from .pictures import BLOCKED, FREE, SOURCE, flood_text
from .task import MADE_HERE, Task, check_share

KINDS, STATES = 3, 2  # free, blocked or the source; dry or reached


def sample_flood(
    rows: int,
    split: str,
    fixed: torch.Generator,
    random: torch.Generator,
    *,
    face: Size = (8, 8),
    blocked: float = 0.35,
) -> tuple[Tensor, Tensor]:
    """Draw floods, (N, E): a cell is one-hot, free, blocked or the source; and what the source reaches, (N, T).

    The source is any of the free cells, and where there is none, one blocked cell becomes the source. It reaches
    itself and goes on to the right, down, left and up wherever the next cell is not blocked. The target of a cell is
    one-hot: not reached, reached.

    Args:
        rows: N.
        split: every split is drawn alike.
        fixed: nothing here is fixed.
        random: draws the floods.
        face: columns and rows of cells.
        blocked: the probability with which a cell is blocked.

    Raises:
        ValueError: `blocked` is no share.
    """
    check_share("blocked", blocked)
    beside, every = neighbours(face), torch.arange(rows)
    free = torch.rand(rows, len(beside), generator=random) >= blocked
    source = (torch.rand(rows, len(beside), generator=random) + free).argmax(1)
    kind = torch.where(free, FREE, BLOCKED)
    kind[every, source] = SOURCE
    beyond_too = torch.cat((free, free.new_zeros(rows, 1)), dim=1)
    openings = free.unsqueeze(2) & beyond_too[:, beside]  # (N, S, 4)
    reached = distances(openings, beside, source) >= 0
    return torch.eye(KINDS)[kind].flatten(1), torch.eye(STATES)[reached.long()].flatten(1)


def waiting_flood(inputs: Tensor, face: Size, random: torch.Generator) -> Tensor:
    """(N, E) floods to the same without a source: nothing can be reached yet.

    Args:
        inputs: (N, E).
        face: columns and rows of cells.
        random: is not needed.
    """
    cells = inputs.view(len(inputs), -1, KINDS).clone()
    cells[:, :, FREE] += cells[:, :, SOURCE]
    cells[:, :, SOURCE] = 0
    return cells.flatten(1)


def draw_flood(inputs: Tensor, outputs: Tensor, face: Size, plain: bool = False) -> str:
    """The picture of one flood, (E,), with the cells that the output (T,) calls reached."""
    return flood_text(inputs, class_of_cells(outputs.unsqueeze(0), STATES)[0], face, plain)


FLOOD = Task(
    "cells that are free, blocked (35 %) or the source, one-hot; per cell whether the source reaches it, one-hot",
    sample_flood,
    "whole floods",
    partial(whole_rows, classes=STATES),
    CELL_CLASSES | {"target_classes": STATES},
    licence=MADE_HERE,
    face=(8, 8),
    train_sizes=((8, 8),),
    test_sizes=((12, 12), (16, 16), (24, 24), (48, 48)),
    options={"blocked": 0.35},
    draw=draw_flood,
    waiting=waiting_flood,
    rows=48_000,
)
