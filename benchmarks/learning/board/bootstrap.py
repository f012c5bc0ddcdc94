"""Intervals over rows and seeds together: in every resample seeds are drawn, and rows.

Rows are the same for all seeds and systems, so one draw of rows holds for all of them; that is what makes a difference
between two systems narrower than either. Seeds of different systems have nothing in common and are drawn apart.

Shapes: `D` draws, `N` rows, `K` seeds of a system.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

DRAWS = 2000
Losses = Mapping[str, tuple[Tensor, Tensor]]  # of each system: (K, N) what is lost in a row, and what there is to lose


def resampled(losses: Losses, draws: int = DRAWS) -> dict[str, Tensor]:
    """(D,) for each system: the mean score of the drawn seeds on the drawn rows.

    A score is 1 - lost / total over rows, which is a share of hits, or R2.
    """
    rows = next(iter(losses.values()))[0].shape[1]
    random = torch.Generator().manual_seed(0)
    drawn = torch.randint(rows, (draws, rows), generator=random)
    counts = torch.zeros(draws, rows).scatter_add_(1, drawn, torch.ones(draws, rows)).double()
    return {name: _means(counts, *pair, _seeds(name, len(pair[0]), draws)) for name, pair in losses.items()}


def interval(values: Tensor) -> tuple[float, float]:
    """The middle 95 % of (D,) draws."""
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def _seeds(name: str, count: int, draws: int) -> Tensor:
    """(D, K) the seeds of each draw; another system draws others, whoever else takes part."""
    random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randint(count, (draws, count), generator=random)


def _means(counts: Tensor, lost: Tensor, total: Tensor, seeds: Tensor) -> Tensor:
    found = 1 - (counts @ lost.double().T) / (counts @ total.double().T)  # (D, K)
    return found.gather(1, seeds).mean(1)
