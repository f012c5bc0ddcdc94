"""Chain of bits: whether the ones so far are odd in number; the length is free.

Shapes: `N` chains, `S` cells of a chain; `E` = 2 S input width, `T` = 2 S target width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..pairs import Size
from .judging import CELL_CLASSES, whole_rows
from .task import MADE_HERE, Task, check_line

BITS = 2


def sample_chain_parity(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator, *, face: Size = (16, 1)
) -> tuple[Tensor, Tensor]:
    """Draw chains of bits, one-hot per cell, (N, E), and the sums mod 2 from the first cell on, likewise, (N, T).

    Raises:
        ValueError: `face`, which is columns and rows of cells, has more rows than one.
    """
    check_line("face", face)
    bits = torch.randint(BITS, (rows, face[0]), generator=random)
    return torch.eye(BITS)[bits].flatten(1), torch.eye(BITS)[bits.cumsum(1) % 2].flatten(1)


CHAIN_PARITY = Task(
    "a chain of bits, one-hot per cell; per cell the sum mod 2 of the bits up to it, one-hot",
    sample_chain_parity,
    "whole chains",
    partial(whole_rows, classes=BITS),
    CELL_CLASSES | {"target_classes": BITS},
    licence=MADE_HERE,
    face=(16, 1),
    train_sizes=((16, 1),),
    test_sizes=((64, 1), (256, 1)),
)
