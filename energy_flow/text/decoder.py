"""Embedding to text: the nearest texts of a bank.

Shapes: `N` queries, `V` texts in the bank, `E` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # queries whose similarities to the whole bank are held at once


class Match(NamedTuple):
    """A text of the bank and its cosine with the query."""

    text: str
    score: float


class NearestTexts:
    """Decodes embeddings to the nearest texts of a bank, exactly, by cosine.

    Args:
        texts: V texts.
        embeddings: (V, E), one row per text, none of them zero.
    """

    def __init__(self, texts: Sequence[str], embeddings: Tensor) -> None:
        if len(texts) != len(embeddings):
            raise ValueError(
                f"the bank has {len(texts)} texts and {len(embeddings)} embeddings; give one embedding per text"
            )
        zero = (embeddings == 0).all(dim=1)
        if bool(zero.any()):
            text = texts[int(zero.nonzero()[0])]
            raise ValueError(f"the bank's text {text!r} has a zero embedding, so no direction; remove it")
        self.texts = list(texts)
        self._directions = F.normalize(embeddings, dim=1)

    def __call__(self, queries: Tensor, count: int = 5) -> list[list[Match]]:
        """(N, E) queries to their `count` nearest texts each, the nearest first."""
        if not 1 <= count <= len(self.texts):
            raise ValueError(f"count = {count}; give 1 to {len(self.texts)}, the texts of the bank")
        found: list[list[Match]] = []
        for rows in F.normalize(queries, dim=1).split(CHUNK):
            scores, index = torch.topk(rows @ self._directions.T, count, dim=1)
            found += [
                [Match(self.texts[place], score) for place, score in zip(*row, strict=True)]
                for row in zip(index.tolist(), scores.tolist(), strict=True)
            ]
        return found
