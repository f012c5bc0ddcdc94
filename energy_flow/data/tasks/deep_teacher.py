"""Deep teacher: a hard non-linear map, that of a fixed random network.

Shapes: `N` rows, `E` input width, `T` = E target width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .judging import REGRESSION, r_squared
from .task import MADE_HERE, Task

WIDTH = 64
LAYERS, GAIN = 3, 1.5  # so that a linear map explains three quarters of the variance


def sample_deep_teacher(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw (N, E) inputs, and send them through tanh layers to (N, T) targets; a linear map reaches R2 = 0.75."""
    layers = [torch.randn(WIDTH, WIDTH, generator=fixed) * GAIN / WIDTH**0.5 for _ in range(LAYERS)]
    inputs = hidden = torch.randn(rows, WIDTH, generator=random)
    for layer in layers:
        hidden = torch.tanh(hidden @ layer)
    return inputs, hidden


DEEP_TEACHER = Task(
    "random vectors of width 64; what a fixed random network of 3 tanh layers makes of them",
    sample_deep_teacher,
    "R2",
    r_squared,
    REGRESSION,
    licence=MADE_HERE,
)
