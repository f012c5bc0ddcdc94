"""The directions of rows of any length. Shapes: `N` rows, `E` width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def has_direction(rows: Tensor) -> Tensor:
    """(N,) bool: which of (N, E) rows are finite and not zero."""
    return rows.isfinite().all(dim=1) & (rows != 0).any(dim=1)


def unit_rows(rows: Tensor) -> Tensor:
    """(N, E) rows to length 1, however long or short they are; those without direction become zero."""
    usable = torch.where(has_direction(rows)[:, None], rows, 0.0)
    largest = usable.abs().amax(dim=1, keepdim=True)
    return F.normalize(usable / torch.where(largest > 0, largest, 1.0), dim=1)


def cosine_of_rows(one: Tensor, two: Tensor) -> Tensor:
    """(N,) cosines of (N, E) rows, however long or short they are; 0 where one of both has no direction."""
    return (unit_rows(one) * unit_rows(two)).sum(1)
