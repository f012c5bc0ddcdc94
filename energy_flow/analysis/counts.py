"""Sums by key, added up batch by batch: memory follows the number of different keys, not the number of rows.

Shapes: `n` rows of a batch, `K` different keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)  # odd 64-bit factors, as signed numbers


class CountTable:
    """Weights added up by key."""

    def __init__(self) -> None:
        self.keys = torch.empty(0, dtype=torch.int64)  # (K,) in ascending order
        self.weights = torch.empty(0, dtype=torch.float64)  # (K,)

    def add(self, keys: Tensor, weights: Tensor | None = None) -> None:
        """Add rows.

        Args:
            keys: (n,) int64.
            weights: (n,) of each row; 1 by default.
        """
        given = torch.ones(len(keys), dtype=torch.float64) if weights is None else weights.double()
        self.keys, place = torch.cat((self.keys, keys)).unique(return_inverse=True)
        self.weights = torch.zeros(len(self.keys), dtype=torch.float64).index_add(
            0, place, torch.cat((self.weights, given))
        )

    def entropy(self) -> float:
        """Entropy in bits of the keys, each with its share of the weights."""
        return entropy(self.weights)


def entropy(weights: Tensor) -> float:
    """Entropy in bits of weights that need not add up to 1 (Shannon 1948): `-sum(p log2 p)`; 0 where nothing weighs."""
    total = float(weights.sum())
    return float(torch.special.entr(weights.double() / total).sum()) / math.log(2) if total else 0.0


def mix(values: Tensor) -> Tensor:
    """(n,) int64 to (n,) int64 that look random, the same for the same value: hashes that may be added up."""
    for factor in _MIX:
        values = values * factor
        values = values ^ ((values >> 31) & 0x1FFFFFFFF)
    return values


def pair(first: Tensor, second: Tensor) -> Tensor:
    """(n,) int64 twice to one key, which differs where either does, but for one chance in 2^64."""
    return mix(mix(first) + second)
