"""What lies around a cell, for models that see no further. Shapes as in `rival`; `w` numbers of a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from energy_flow.data.pairs import Size

RADIUS = 2  # 5 x 5 cells


def windows(cells: Tensor, face: Size, radius: int) -> Tensor:
    """(B, S, c) cells to (B, S, w) all that lie at most `radius` columns and rows away.

    A cell of a window has its c numbers, and whether it lies on the face: beyond, all are 0.
    """
    columns, rows = face
    side = 2 * radius + 1
    marked = torch.cat((cells, cells.new_ones(*cells.shape[:2], 1)), dim=2).unflatten(1, (rows, columns))
    padded = F.pad(marked, (0, 0, radius, radius, radius, radius))
    around = padded.unfold(1, side, 1).unfold(2, side, 1)  # (B, rows, columns, c + 1, side, side)
    return around.flatten(3).flatten(1, 2)


def window_width(cell_width: int, radius: int) -> int:
    """w, of cells with c numbers."""
    return (cell_width + 1) * (2 * radius + 1) ** 2
