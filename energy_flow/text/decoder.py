"""Embedding to text: the nearest texts of a bank, exactly.

Shapes: `N` queries, `V` texts in the bank, `E` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..data.stored_rows import Rows
from .nearest_rows import NearestRows


class Match(NamedTuple):
    """A text of the bank and its score: the cosine with the query, or the CSLS."""

    text: str
    score: float


class NearestTexts:
    """Decodes embeddings to the nearest texts of a bank, exactly, by cosine; ties go by the order of the bank.

    Args:
        texts: V texts.
        embeddings: (V, E) floating, one row per text, each with a direction; in memory on any device, where the search
            runs then, or in a file.
        hub_queries: (N, E) queries such as those to come, by which hubs are held back as `NearestRows` describes.

    Raises:
        ValueError: counts that differ, a row that is zero or not finite, too few hub queries.
    """

    def __init__(self, texts: Sequence[str], embeddings: Rows, hub_queries: Tensor | None = None) -> None:
        if len(texts) != len(embeddings):
            raise ValueError(
                f"the bank has {len(texts)} texts and {len(embeddings)} embeddings; give one embedding per text"
            )
        self.texts = texts
        self._nearest = NearestRows(embeddings, hub_queries, texts)

    def __call__(self, queries: Tensor, count: int = 5) -> list[list[Match]]:
        """(N, E) queries to their `count` nearest texts each, the nearest first; none for one without direction."""
        scores, places = self.top(queries, count)
        return [
            [
                Match(self.texts[int(place)], score)
                for place, score in zip(row_places, row_scores, strict=True)
                if place >= 0
            ]
            for row_places, row_scores in zip(places.tolist(), scores.tolist(), strict=True)
        ]

    def top(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Scores and places of the nearest, as `NearestRows.top` gives them."""
        return self._nearest.top(queries, count)

    def ranks(self, queries: Tensor, wanted: Tensor) -> Tensor:
        """(N,) int64: how many other texts score at least as high as the wanted one, as `NearestRows.ranks` does."""
        return self._nearest.ranks(queries, wanted)
