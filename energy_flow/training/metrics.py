"""How outputs are judged against targets, and how far the figures can be trusted.

Shapes: `N` rows, `E` output width, `V` texts in the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.pairs import PairSet, TextBank

CHUNK = 1024  # rows of a similarity matrix that are held at once
RESAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class EmbeddingMetrics:
    """Figures over one set of rows.

    Attributes:
        mse: mean squared error over all numbers.
        cosine: mean cosine of output and target.
        centred_cosine: the same after the means of outputs and of targets were taken off.
        median_rank: of the target among the bank, 0-based; None without a bank.
        rank_std: standard deviation of the ranks.
        acc_1: share of the rows whose target is the nearest of the bank.
        acc_10: share of the rows whose target is among the ten nearest.
        acc_100: share of the rows whose target is among the hundred nearest.
    """

    mse: float
    cosine: float
    centred_cosine: float
    median_rank: float | None = None
    rank_std: float | None = None
    acc_1: float | None = None
    acc_10: float | None = None
    acc_100: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The figures that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class RowFigures(NamedTuple):
    """What the figures are made of, row by row."""

    squared_error: Tensor  # (N,) mean over the numbers of a row
    cosine: Tensor  # (N,)
    centred_cosine: Tensor  # (N,)
    rank: Tensor | None  # (N,) 0-based, with a bank


def measure(outputs: Tensor, pairs: PairSet, bank: TextBank | None = None) -> EmbeddingMetrics:
    """Judge (N, E) outputs against the targets of `pairs`; with a bank, by the rank of the target's text too."""
    rows = row_figures(outputs, pairs, bank)
    return EmbeddingMetrics(**{name: float(figure(rows)) for name, figure in _figures(rows).items()})


def confidence_intervals(
    outputs: Tensor, pairs: PairSet, bank: TextBank | None = None, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over the rows (Efron 1979): the interval of each figure of `measure`, by its name."""
    rows = row_figures(outputs, pairs, bank)
    generator = torch.Generator().manual_seed(seed)
    count = len(rows.cosine)
    drawn: dict[str, list[float]] = {name: [] for name in _figures(rows)}
    for _ in range(RESAMPLES):
        chosen = torch.randint(count, (count,), generator=generator)
        resampled = RowFigures(*(None if column is None else column[chosen] for column in rows))
        for name, figure in _figures(rows).items():
            drawn[name].append(float(figure(resampled)))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    bounds = {name: torch.tensor(values, dtype=torch.float64).quantile(ends) for name, values in drawn.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def row_figures(outputs: Tensor, pairs: PairSet, bank: TextBank | None = None) -> RowFigures:
    """The figures of every row; ranks where there is a bank."""
    centred = [rows - rows.mean(0) for rows in (outputs, pairs.targets)]
    return RowFigures(
        squared_error=(outputs - pairs.targets).square().mean(1),
        cosine=F.cosine_similarity(outputs, pairs.targets, dim=1),
        centred_cosine=F.cosine_similarity(*centred, dim=1),
        rank=None if bank is None else target_ranks(outputs, pairs, bank),
    )


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


def _figures(rows: RowFigures) -> dict[str, Callable[[RowFigures], Tensor]]:
    figures: dict[str, Callable[[RowFigures], Tensor]] = {
        "mse": lambda one: one.squared_error.mean(),
        "cosine": lambda one: one.cosine.mean(),
        "centred_cosine": lambda one: one.centred_cosine.mean(),
    }
    if rows.rank is None:
        return figures
    return figures | {
        "median_rank": lambda one: _ranks(one).quantile(0.5),
        "rank_std": lambda one: _ranks(one).std(correction=0),
        "acc_1": lambda one: (_ranks(one) < 1).double().mean(),
        "acc_10": lambda one: (_ranks(one) < 10).double().mean(),
        "acc_100": lambda one: (_ranks(one) < 100).double().mean(),
    }


def _ranks(rows: RowFigures) -> Tensor:
    assert rows.rank is not None  # asked for with a bank only
    return rows.rank.double()
