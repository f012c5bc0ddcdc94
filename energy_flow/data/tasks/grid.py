"""What the tasks on a grid of cells share: neighbours, and how far cells are from one of them.

Cells are numbered row by row: cell = row * columns + column. The four ways out of a cell are right, down, left and up,
in this order; the way back is two further.

Shapes: `N` grids, `S` cells of a grid, `F` cells of all grids that are reached in one step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..pairs import Size

WAYS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up, as columns and rows
UNREACHED = -1


def neighbours(face: Size) -> Tensor:
    """(S, 4) int64: the cell that lies right, down, left and up of each; S, which is no cell, beyond the edge."""
    columns, rows = face
    cell = torch.arange(columns * rows)
    found = []
    for right, down in WAYS:
        column, row = cell % columns + right, cell // columns + down
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        found.append(torch.where(inside, row * columns + column, columns * rows))
    return torch.stack(found, dim=1)


def back(way: Tensor) -> Tensor:
    """The way that leads back: left for right, up for down."""
    return (way + 2) % len(WAYS)


def distances(openings: Tensor, beside: Tensor, source: Tensor) -> Tensor:
    """Steps from one cell of each grid to every other, breadth first over all grids at once.

    Args:
        openings: (N, S, 4) bool, the ways that are open; none may lead beyond the edge.
        beside: (S, 4), what `neighbours` gave.
        source: (N,) int64, the cells that are started from.

    Returns:
        (N, S) int64; `UNREACHED` where no open way leads.
    """
    cells = len(beside)
    distance = torch.full(openings.shape[:2], UNREACHED)
    grid, cell, steps = torch.arange(len(openings)), source, 0
    while len(grid):
        distance[grid, cell] = steps
        left, way = openings[grid, cell].nonzero(as_tuple=True)
        reached = grid[left] * cells + beside[cell[left], way]
        reached = reached[distance.view(-1)[reached] == UNREACHED].unique()  # (F,)
        grid, cell, steps = reached // cells, reached % cells, steps + 1
    return distance
