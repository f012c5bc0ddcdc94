"""Which learning rates to try: none is chosen at the edge of what was tried.

A rate is a power of two times those of the grid, so that equal ones are equal to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEAST, MOST = 1e-6, 1.0  # beyond, nothing is tried


class Search(NamedTuple):
    """Where a search stands."""

    missing: tuple[float, ...]  # rates to try next
    best: float | None  # where none is missing: it was tried, and so were its neighbours


def search(losses: Mapping[float, float], grid: Sequence[float]) -> Search:
    """Ask for the grid, then for the neighbours of the best rate until both of them are worse.

    Args:
        losses: the validation loss of every rate that was tried; infinity where training failed.
        grid: to begin with, each twice the one before.
    """
    missing = tuple(rate for rate in grid if rate not in losses)
    if missing:
        return Search(missing, None)
    middle = grid[len(grid) // 2]
    best = min(losses, key=lambda rate: (losses[rate], abs(math.log(rate / middle)), rate))
    missing = tuple(rate for rate in (best / 2, 2 * best) if rate not in losses and LEAST <= rate <= MOST)
    return Search(missing, None if missing else best)
