"""Rotation: one orthogonal matrix, the simplest map that mixes the whole embedding.

Shapes: `N` rows, `E` input width, `T` = E target width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .judging import REGRESSION, r_squared
from .task import MADE_HERE, Task

WIDTH = 64


def sample_rotation(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw (N, E) inputs, and rotate them to (N, T) targets."""
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=fixed))[0]
    inputs = torch.randn(rows, WIDTH, generator=random)
    return inputs, inputs @ rotation


ROTATION = Task(
    "random vectors of width 64; the same, rotated", sample_rotation, "R2", r_squared, REGRESSION, licence=MADE_HERE
)
