"""Small helpers: positions and batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Position3D(NamedTuple):
    """A place in the lattice, in cells."""

    x: float
    y: float
    z: float


def to_positions(positions: Tensor) -> list[Position3D]:
    """(F, 3) cells to one `Position3D` per row."""
    return [Position3D(*row) for row in positions.tolist()]


def batch_slices(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """(count,) int64: the order of the rows in an epoch, a pure function of its arguments."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
