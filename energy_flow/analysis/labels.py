"""The class of a sample that routes may tell about: the task's own, or a cluster of its target.

Shapes: `N` samples, `T` target width, `k` clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..data import TASKS, PairSet
from ..utils.helpers import batch_slices

FITTED_ROWS = 2000  # of the targets, that the clusters' middles are found from
ROUNDS = 50  # of Lloyd's algorithm, at most
ROWS_AT_ONCE = 4096


class Labels(NamedTuple):
    """A class for every sample."""

    values: Tensor  # (N,) int64
    classes: int
    source: str  # in words, where they come from


def labels_of(pairs: PairSet, task: str | None, clusters: int = 8, seed: int = 0) -> Labels:
    """The classes of a task that has some, or else clusters of the targets.

    Args:
        pairs: the samples.
        task: its name in `TASKS`, where the pairs are of one.
        clusters: k, where the task has no classes.
        seed: of the clusters.

    Raises:
        ValueError: fewer than two clusters, or than samples.
    """
    own = None if task is None else TASKS[task].label
    if own is not None:
        found = torch.cat([own(pairs.inputs[rows], pairs.targets[rows]) for rows in _slices(pairs)])
        return Labels(found.unique(return_inverse=True)[1], len(found.unique()), f"the classes of the task {task}")
    if not 2 <= clusters <= len(pairs):
        raise ValueError(f"clusters = {clusters} for {len(pairs)} samples; give 2 at least, and no more than samples")
    middles = k_means(pairs.spaced(FITTED_ROWS).targets[:], clusters, seed)
    nearest = torch.cat([torch.cdist(pairs.targets[rows].double(), middles).argmin(1) for rows in _slices(pairs)])
    return Labels(nearest, clusters, f"{clusters} clusters of the targets (k-means, seed {seed})")


def k_means(rows: Tensor, clusters: int, seed: int = 0) -> Tensor:
    """The middles of clusters, by Lloyd's algorithm (1982) from the start of k-means++ (Arthur and Vassilvitskii 2007).

    Args:
        rows: (N, T), at least k.
        clusters: k.
        seed: of the start.

    Returns:
        (k, T) float64.
    """
    random, rows = torch.Generator().manual_seed(seed), rows.double()
    middles = rows[torch.randint(len(rows), (1,), generator=random)]
    while len(middles) < clusters:
        far = torch.cdist(rows, middles).amin(1).square()
        chances = far if far.sum() > 0 else torch.ones_like(far)
        middles = torch.cat((middles, rows[torch.multinomial(chances, 1, generator=random)]))
    for _ in range(ROUNDS):
        nearest = torch.cdist(rows, middles).argmin(1)
        counts = torch.bincount(nearest, minlength=clusters).unsqueeze(1)
        sums = torch.zeros_like(middles).index_add(0, nearest, rows)
        moved = torch.where(counts > 0, sums / counts.clamp_min(1), middles)
        if torch.equal(moved, middles):
            break
        middles = moved
    return middles


def _slices(pairs: PairSet) -> list[slice]:
    return list(batch_slices(len(pairs), ROWS_AT_ONCE))
