"""How outputs are judged against targets.

Shapes: `N` rows, `E` output width, `V` texts in the bank.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.pairs import PairSet, TextBank

CHUNK = 1024  # rows of a similarity matrix that are held at once


@dataclass(frozen=True)
class EmbeddingMetrics:
    """Figures over one set of rows.

    Attributes:
        mse: mean squared error over all numbers.
        cosine: mean cosine of output and target.
        median_rank: of the target among the bank, 0-based; None without a bank.
        acc_1: share of the rows whose target is the nearest of the bank.
        acc_10: share of the rows whose target is among the ten nearest.
        acc_100: share of the rows whose target is among the hundred nearest.
    """

    mse: float
    cosine: float
    median_rank: float | None = None
    acc_1: float | None = None
    acc_10: float | None = None
    acc_100: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The figures that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure(outputs: Tensor, pairs: PairSet, bank: TextBank | None = None) -> EmbeddingMetrics:
    """Judge (N, E) outputs against the targets of `pairs`; with a bank, by the rank of the target's text too."""
    mse = float(F.mse_loss(outputs, pairs.targets))
    cosine = float(F.cosine_similarity(outputs, pairs.targets, dim=1).mean())
    if bank is None:
        return EmbeddingMetrics(mse, cosine)
    ranks = target_ranks(outputs, pairs, bank).double()
    shares = [float((ranks < best).double().mean()) for best in (1, 10, 100)]
    return EmbeddingMetrics(mse, cosine, float(ranks.quantile(0.5)), *shares)


def target_ranks(outputs: Tensor, pairs: PairSet, bank: TextBank) -> Tensor:
    """(N,) int64: how many texts of the bank are nearer to each output, by cosine, than the right one.

    Raises:
        ValueError: a target text is not in the bank.
    """
    index = {text: row for row, text in enumerate(bank.texts)}
    missing = next((text for text in pairs.target_texts if text not in index), None)
    if missing is not None or not pairs.target_texts:
        raise ValueError(f"target text {missing!r} is not in the bank; give a bank that holds every target")
    right = torch.tensor([index[text] for text in pairs.target_texts])
    candidates = F.normalize(bank.embeddings, dim=1)
    ranks = []
    for rows, wanted in zip(F.normalize(outputs, dim=1).split(CHUNK), right.split(CHUNK), strict=True):
        similarity = rows @ candidates.T
        ranks.append((similarity > similarity.gather(1, wanted[:, None])).sum(1))
    return torch.cat(ranks)
