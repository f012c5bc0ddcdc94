"""Rotary places on a face (Su et al. 2021; in two dimensions, Heo et al. 2024): attention sees relative places alone.

Shapes: `S` cells of a face, `D` width of a head: half of its pairs of numbers turn with the column, half with the row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.data.pairs import Size

SLOWEST = 100.0  # radians of a column or row to the power -1: the slowest pair turns by about 0.01 a cell


def places_of(face: Size) -> Tensor:
    """(S, 2) column and row of every cell."""
    cell = torch.arange(face[0] * face[1])
    return torch.stack((cell % face[0], cell // face[0]), dim=1)


def angles_of(places: Tensor, width: int) -> Tensor:
    """(S, D / 2) by how much every pair of numbers turns at (S, 2) places.

    Raises:
        ValueError: the width is no multiple of 4, so that columns and rows cannot have as many pairs.
    """
    if width % 4:
        raise ValueError(f"width = {width}; columns and rows share the pairs of a head: give a multiple of 4")
    speeds = SLOWEST ** -(torch.arange(width // 4) / (width // 4))
    return (places.unsqueeze(2) * speeds).flatten(1)


def turned(heads: Tensor, angles: Tensor) -> Tensor:
    """(..., S, D) queries or keys, every pair of numbers turned by its angle (S, D / 2)."""
    first, second = heads.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack((first * cosine - second * sine, first * sine + second * cosine), dim=-1).flatten(-2)
