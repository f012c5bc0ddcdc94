"""How well outputs find their own target among the targets of a set, where there are no texts to look among.

Shapes: `N` rows, `T` output width, `V` different targets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..text.nearest_rows import NearestRows
from ..utils.directions import has_direction

RECALLS = (1, 10, 100)
DEPTH = 10  # ranks that count for the nDCG
LEVEL, RESAMPLES = 0.95, 1000  # of the bootstrap


class Retrieval:
    """Ranks outputs among the targets, each different one once; ties count against the output's own target.

    Args:
        targets: (N, T).

    Raises:
        ValueError: a target without direction.
    """

    def __init__(self, targets: Tensor) -> None:
        different, self._place = torch.unique(targets, dim=0, return_inverse=True)
        self._nearest = NearestRows(different)

    def __len__(self) -> int:
        """Different targets."""
        return len(self._nearest)

    def ranks(self, outputs: Tensor) -> Tensor:
        """(N,) int64: how many other targets score at least as high for each of (N, T) outputs as its own."""
        return self._nearest.ranks(outputs, self._place)


def can_rank(targets: Tensor) -> bool:
    """Whether (N, T) targets all have a direction, and there are two different ones at least."""
    return bool(has_direction(targets).all()) and bool((targets != targets[0]).any())


def retrieval_figures(ranks: Tensor) -> dict[str, float]:
    """recall@k, and nDCG@10 with one right target a row, of (N,) ranks."""
    return {name: float(values.mean()) for name, values in _values(ranks).items()}


def retrieval_intervals(ranks: Tensor, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over the rows (Efron 1979): the 95 % interval of each figure."""
    random = torch.Generator().manual_seed(seed)
    chosen = [torch.randint(len(ranks), (len(ranks),), generator=random) for _ in range(RESAMPLES)]
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    found = {}
    for name, values in _values(ranks).items():
        low, high = torch.stack([values[rows].mean() for rows in chosen]).quantile(ends).tolist()
        found[name] = (low, high)
    return found


def _values(ranks: Tensor) -> dict[str, Tensor]:
    """What each row adds to each figure."""
    recalls = {f"recall_{count}": (ranks < count).double() for count in RECALLS}
    gain = torch.where(ranks < DEPTH, 1 / torch.log2(ranks.double() + 2), 0.0)
    return recalls | {f"ndcg_{DEPTH}": gain}
