"""How outputs are judged against targets, and how far the figures can be trusted.

Shapes: `N` rows, `E` output width, `V` texts in the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.pairs import PairSet, TextBank
from ..data.stored_rows import CHUNK, Rows, chunks, host_rows
from ..text.decoder import NearestTexts
from ..utils.directions import cosine_of_rows, has_direction

HIT_NOTHING = "are zero or not finite: they have no direction, and count as no hit"
RESAMPLES = 1000  # of the bootstrap
RANKED = ("median_rank", "rank_std", "acc_1", "acc_10", "acc_100")  # figures that need a bank of texts
LESS_IS_BETTER = (
    "loss",
    "train_loss",
    "mse",
    "no_direction",
    "median_rank",
    "rank_std",
)  # of all other figures more is


@dataclass(frozen=True)
class EmbeddingMetrics:
    """Figures over one set of rows.

    Attributes:
        mse: mean squared error over all numbers.
        cosine: mean cosine of output and target.
        centred_cosine: the same after the means of outputs and of targets were taken off.
        no_direction: share of the outputs that are zero or not finite, and so hit nothing; None where there are none.
        median_rank: of the target among the bank, 0-based, ties counted against it; None without a bank.
        rank_std: standard deviation of the ranks.
        acc_1: share of the rows whose target is the nearest of the bank.
        acc_10: share of the rows whose target is among the ten nearest.
        acc_100: share of the rows whose target is among the hundred nearest.
        synonym_acc_1: share of the rows whose nearest text is the target or shares a group (a synset) with it; None
            where the bank has no groups.
    """

    mse: float
    cosine: float
    centred_cosine: float
    no_direction: float | None = None
    median_rank: float | None = None
    rank_std: float | None = None
    acc_1: float | None = None
    acc_10: float | None = None
    acc_100: float | None = None
    synonym_acc_1: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The figures that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class RowFigures(NamedTuple):
    """What the figures are made of, row by row."""

    squared_error: Tensor  # (N,) mean over the numbers of a row
    cosine: Tensor  # (N,)
    centred_cosine: Tensor  # (N,)
    has_direction: Tensor  # (N,) bool
    rank: Tensor | None  # (N,) 0-based, with a bank
    synonym: Tensor | None  # (N,) bool, with a bank that has groups


class Judge:
    """Judges outputs against pairs by ranks in a bank; the bank is prepared once.

    Args:
        bank: the texts that outputs are decoded to; None judges without ranks.
        hub_queries: (N, T) outputs such as those to come, for the correction of hubs that `NearestTexts` describes.
        miss: the rank of a target that is not in the bank or ranks beyond; the published reverse-dictionary tables
            use 1000. By default a target outside the bank is an error.
    """

    def __init__(
        self, bank: TextBank | None = None, hub_queries: Tensor | None = None, miss: int | None = None
    ) -> None:
        self.bank, self.miss = bank, miss
        self.nearest = None if bank is None else NearestTexts(bank.texts, bank.embeddings, hub_queries)
        self._places = {} if bank is None else {text: place for place, text in enumerate(bank.texts)}

    def measure(self, outputs: Rows, pairs: PairSet) -> EmbeddingMetrics:
        """Judge (N, T) outputs against the targets of `pairs`."""
        return _metrics(self.row_figures(outputs, pairs))

    def confidence_intervals(
        self, outputs: Rows, pairs: PairSet, level: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap over the rows (Efron 1979): the interval of each figure of `measure`, by its name."""
        rows = self.row_figures(outputs, pairs)
        generator = torch.Generator().manual_seed(seed)
        count = len(rows.cosine)
        drawn: dict[str, list[float]] = {name: [] for name in _figures(rows)}
        for _ in range(RESAMPLES):
            chosen = torch.randint(count, (count,), generator=generator)
            resampled = RowFigures._make(None if column is None else column[chosen] for column in rows)
            for name, figure in _figures(rows).items():
                drawn[name].append(float(figure(resampled)))
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        bounds = {name: torch.tensor(values, dtype=torch.float64).quantile(ends) for name, values in drawn.items()}
        return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}

    def row_figures(self, outputs: Rows, pairs: PairSet) -> RowFigures:
        """The figures of every row; ranks where there is a bank."""
        outputs = host_rows("outputs", outputs)
        means = [_mean(rows) for rows in (outputs, pairs.targets)]
        parts = []
        for start in range(0, len(pairs), CHUNK):
            rows = slice(start, start + CHUNK)
            found, wanted = outputs[rows], pairs.targets[rows]
            cosine = cosine_of_rows(found, wanted)
            centred = cosine_of_rows(found - means[0], wanted - means[1])
            parts.append(((found - wanted).double().square().mean(1), cosine, centred, has_direction(found)))
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return RowFigures(*columns, rank=self.ranks(outputs, pairs), synonym=self._synonyms(outputs, pairs))

    def ranks(self, outputs: Rows, pairs: PairSet) -> Tensor | None:
        """(N,) int64: how many other texts of the bank score at least as high as the right one; None without a bank.

        An output that is zero or not finite hits nothing: it ranks behind the bank, and never below 100.

        Raises:
            ValueError: a target text is not in the bank, and `miss` is not set.
        """
        if self.nearest is None:
            return None
        places, outputs = self._places_of(pairs), host_rows("outputs", outputs)
        parts = [
            self._ranks_of(chunk, right) for chunk, right in zip(chunks(outputs), places.split(CHUNK), strict=True)
        ]
        return torch.cat(parts)

    def _ranks_of(self, outputs: Tensor, places: Tensor) -> Tensor:
        """(N,) ranks of the texts at some places of the bank; -1 is a text that is not there."""
        assert self.nearest is not None  # who asks has looked
        ranks = self.nearest.ranks(outputs, places.clamp(min=0))
        if self.miss is None:
            return ranks
        return torch.where((places < 0) | ~has_direction(outputs), self.miss, ranks.clamp(max=self.miss))

    def _places_of(self, pairs: PairSet) -> Tensor:
        if not pairs.target_texts:
            raise ValueError("the targets have no texts to look for in the bank; give pairs with target texts")
        missing = next((text for text in pairs.target_texts if text not in self._places), None)
        if missing is not None and self.miss is None:
            raise ValueError(f"target text {missing!r} is not in the bank; give a bank that holds every target")
        return torch.tensor([self._places.get(text, -1) for text in pairs.target_texts])

    def _synonyms(self, outputs: Rows, pairs: PairSet) -> Tensor | None:
        if self.nearest is None or self.bank is None or not self.bank.groups:
            return None
        groups = self.bank.groups
        nearest = torch.cat([self.nearest.top(chunk, 1)[1][:, 0] for chunk in chunks(outputs)])
        hits = [
            min(right, found) >= 0 and (right == found or not groups[right].isdisjoint(groups[found]))
            for right, found in zip(self._places_of(pairs).tolist(), nearest.tolist(), strict=True)
        ]
        return torch.tensor(hits)


def measure(outputs: Rows, pairs: PairSet, bank: TextBank | None = None) -> EmbeddingMetrics:
    """Judge (N, T) outputs against the targets of `pairs`; with a bank, by the rank of the target's text too."""
    return Judge(bank).measure(outputs, pairs)


def _mean(rows: Rows) -> Tensor:
    sums = torch.stack([chunk.double().sum(0) for chunk in chunks(rows)])
    return (sums.sum(0) / len(rows)).float()


def _metrics(rows: RowFigures) -> EmbeddingMetrics:
    return EmbeddingMetrics(**{name: float(figure(rows)) for name, figure in _figures(rows).items()})


def _figures(rows: RowFigures) -> dict[str, Callable[[RowFigures], Tensor]]:
    figures: dict[str, Callable[[RowFigures], Tensor]] = {
        "mse": lambda one: one.squared_error.mean(),
        "cosine": lambda one: one.cosine.mean(),
        "centred_cosine": lambda one: one.centred_cosine.mean(),
    }
    if not rows.has_direction.all():
        figures["no_direction"] = lambda one: (~one.has_direction).double().mean()
    if rows.rank is not None:
        figures |= {
            "median_rank": lambda one: _present(one.rank).quantile(0.5),
            "rank_std": lambda one: _present(one.rank).std(correction=0),
            "acc_1": lambda one: (_present(one.rank) < 1).double().mean(),
            "acc_10": lambda one: (_present(one.rank) < 10).double().mean(),
            "acc_100": lambda one: (_present(one.rank) < 100).double().mean(),
        }
    if rows.synonym is not None:
        figures["synonym_acc_1"] = lambda one: _present(one.synonym).mean()
    return figures


def _present(column: Tensor | None) -> Tensor:
    assert column is not None  # asked for where it is there alone
    return column.double()
