"""Identity: an embedding comes out as it went in, where the path is intact.

Shapes: `N` rows, `E` input width, `T` = E target width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .judging import REGRESSION, r_squared
from .task import MADE_HERE, Task

WIDTH = 64


def sample_identity(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw (N, E) inputs; they are the targets too."""
    inputs = torch.randn(rows, WIDTH, generator=random)
    return inputs, inputs


IDENTITY = Task(
    "random vectors of width 64; themselves", sample_identity, "R2", r_squared, REGRESSION, licence=MADE_HERE
)
