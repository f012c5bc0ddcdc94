"""What places and routes tell about a sample's class: mutual information, beside what chance alone gives.

Shapes: `N` samples of the set, `n` rows of a batch, `P` permutations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .counts import CountTable, pair


class Information(NamedTuple):
    """Bits about the class, and the same with the classes permuted over the samples."""

    value: float  # plug-in estimate
    permuted: float  # its mean over the permutations: the bias
    permuted_std: float  # standard deviation over the permutations
    p_value: float  # share of the permutations, and of the value itself, that reach the value

    @property
    def excess(self) -> float:
        """The value less its permuted mean: what the classes themselves account for."""
        return self.value - self.permuted


class LabelInformation:
    """Plug-in estimate of `I(X; y | G)` in bits, where y is the class of a sample, added up batch by batch.

    From the entropies of counts, `H(X, G) + H(y, G) - H(X, y, G) - H(G)` (Cover and Thomas 2006, section 2.5). The
    estimate is too large where counts are small (Miller 1955); the same with classes permuted over the samples says by
    how much.

    Args:
        labels: (N,) int64, the class of every sample.
        permutations: P.
        seed: of the permutations.
    """

    def __init__(self, labels: Tensor, permutations: int = 20, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        orders = [torch.arange(len(labels))]
        orders += [torch.randperm(len(labels), generator=random) for _ in range(permutations)]
        self._labels = [labels[order] for order in orders]
        self._given, self._what_given = CountTable(), CountTable()
        self._label_given = [CountTable() for _ in orders]
        self._all = [CountTable() for _ in orders]

    def observe(self, what: Tensor, given: Tensor, sample: Tensor, weights: Tensor | None = None) -> None:
        """Add rows.

        Args:
            what: (n,) int64, X.
            given: (n,) int64, G.
            sample: (n,) int64, the number in the set of the sample that the row is of.
            weights: (n,) of each row; 1 by default.
        """
        both = pair(what, given)
        self._given.add(given, weights)
        self._what_given.add(both, weights)
        for number, labels in enumerate(self._labels):
            label = labels[sample]
            self._label_given[number].add(pair(given, label), weights)
            self._all[number].add(pair(both, label), weights)

    def result(self) -> Information:
        """Of all rows so far."""
        known = self._what_given.entropy() - self._given.entropy()
        found = [
            max(0.0, known + label.entropy() - joint.entropy())
            for label, joint in zip(self._label_given, self._all, strict=True)
        ]
        value, chance = found[0], torch.tensor(found[1:] or [0.0], dtype=torch.float64)
        reached = int((chance >= value - 1e-12).sum()) if found[1:] else 0
        return Information(value, float(chance.mean()), float(chance.std(correction=0)), (1 + reached) / len(found))
