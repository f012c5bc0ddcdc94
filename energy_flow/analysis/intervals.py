"""Intervals by resampling, and rank correlation.

Shapes: `N` samples, `V` variants of an experiment.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RESAMPLES = 1000
NOTABLE = 0.01  # of a score whose best value is 1: less than this is no loss worth speaking of


class Effect(NamedTuple):
    """A mean, and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def hurts(self) -> bool:
        """Whether it is a loss: the interval lies above 0, and the mean is no smaller than 0.01."""
        return self.low > 0 and self.mean >= NOTABLE


def bootstrap(values: Tensor, seed: int = 0) -> Effect:
    """The mean of values and its percentile interval, resampled (Efron 1979).

    Args:
        values: (N,) one for each sample, or (V, N): then variants are resampled as well as samples.
        seed: of the draws.
    """
    values, random = values.double().view(-1, values.shape[-1]), torch.Generator().manual_seed(seed)
    variants, samples = values.shape
    means = []
    for _ in range(RESAMPLES):
        chosen = torch.randint(samples, (samples,), generator=random)
        lines = torch.randint(variants, (variants,), generator=random)
        means.append(values[lines][:, chosen].mean())
    ends = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Effect(float(values.mean()), float(ends[0]), float(ends[1]))


def spearman(first: Tensor, second: Tensor) -> float | None:
    """Spearman's rank correlation (1904), ties with their mean rank; None where all values of one are equal.

    Args:
        first: (N,).
        second: (N,).
    """
    ranks = [_ranks(column) - (len(column) + 1) / 2 for column in (first, second)]
    sizes = float(ranks[0].norm() * ranks[1].norm())
    return float((ranks[0] * ranks[1]).sum()) / sizes if sizes > 0 else None


def spearman_interval(first: Tensor, second: Tensor, seed: int = 0) -> Effect | None:
    """`spearman` with its 95 % percentile interval over samples; None where it is not defined."""
    value, random = spearman(first, second), torch.Generator().manual_seed(seed)
    if value is None:
        return None
    drawn = (torch.randint(len(first), (len(first),), generator=random) for _ in range(RESAMPLES))
    found = [spearman(first[chosen], second[chosen]) for chosen in drawn]
    known = torch.tensor([one for one in found if one is not None], dtype=torch.float64)
    ends = known.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Effect(value, float(ends[0]), float(ends[1]))


def _ranks(values: Tensor) -> Tensor:
    """(N,) the ranks from 1, float64; equal values have the mean of theirs."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[place]
