"""Embedding to text: the nearest texts of a bank, exactly.

Shapes: `N` queries, `V` texts in the bank, `E` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.stored_rows import Rows, chunks, float_rows, in_memory

QUERIES = 1024  # whose similarities to a block of the bank are held at once
BLOCK = 16384  # texts of the bank in a block
SPARE = 16  # texts found in float32 beyond those asked for, before float64 decides
DECIMALS = 9  # scores that agree in so many are ties, and go by the order of the bank
SAME = 1e-6  # float32 cosines that differ by less do not outrank each other
HUB_NEIGHBOURS = 10


class Match(NamedTuple):
    """A text of the bank and its score: the cosine with the query, or the CSLS."""

    text: str
    score: float


class NearestTexts:
    """Decodes embeddings to the nearest texts of a bank, exactly, by cosine; ties go by the order of the bank.

    With `hub_queries`, hubs (texts that are near to everything) are held back by cross-domain similarity local
    scaling (CSLS, Conneau et al. 2018): the score is twice the cosine, less the mean cosine of the text with its ten
    nearest hub queries. The third term of the CSLS is one number for all texts of a query, and is left out.

    Args:
        texts: V texts.
        embeddings: (V, E) floating, one row per text, none of them zero; in memory on any device, where the search
            runs then, or in a file.
        hub_queries: (N, E) queries such as those to come, at least ten; not with the answers that are looked for.

    Raises:
        ValueError: counts that differ, a row of zeros, too few hub queries.
    """

    def __init__(self, texts: Sequence[str], embeddings: Rows, hub_queries: Tensor | None = None) -> None:
        if len(texts) != len(embeddings):
            raise ValueError(
                f"the bank has {len(texts)} texts and {len(embeddings)} embeddings; give one embedding per text"
            )
        embeddings = float_rows("bank embeddings", embeddings)
        norms = torch.cat([chunk.norm(dim=1) for chunk in chunks(embeddings)])
        zero = (norms == 0).nonzero().flatten()
        if len(zero):
            raise ValueError(
                f"the bank's text {texts[int(zero[0])]!r} has a zero embedding, so no direction; remove it"
            )
        self.texts = texts
        self._rows = embeddings
        self._device = norms.device
        self._scale = 1 / norms  # the bank itself is not copied
        self._hubness = None if hub_queries is None else self._measure_hubness(hub_queries)

    def __call__(self, queries: Tensor, count: int = 5) -> list[list[Match]]:
        """(N, E) queries to their `count` nearest texts each, the nearest first."""
        scores, places = self.top(queries, count)
        return [
            [Match(self.texts[int(place)], score) for place, score in zip(row_places, row_scores, strict=True)]
            for row_places, row_scores in zip(places.tolist(), scores.tolist(), strict=True)
        ]

    def top(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(N, E) queries to scores (N, count) float64 and places in the bank (N, count) int64, the best first."""
        if not 1 <= count <= len(self.texts):
            raise ValueError(f"count = {count}; give 1 to {len(self.texts)}, the texts of the bank")
        parts = [self._exact(rows, self._likely(rows, count + SPARE), count) for rows in self._chunks(queries)]
        scores, places = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return scores, places

    def ranks(self, queries: Tensor, wanted: Tensor) -> Tensor:
        """(N,) int64: how many texts score higher for each query than the one at its place `wanted` (N,)."""
        found = []
        for rows, right in zip(self._chunks(queries), wanted.to(self._device).split(QUERIES), strict=True):
            own = F.cosine_similarity(rows, self._rows.index_select(0, right), dim=1)
            if self._hubness is not None:
                own -= self._hubness[right] / 2
            higher = [(scores > own[:, None] + SAME).sum(1) for _, scores in self._scores(rows)]
            found.append(torch.stack(higher).sum(0).cpu())
        return torch.cat(found)

    def _chunks(self, queries: Tensor) -> Iterator[Tensor]:
        for rows in in_memory(float_rows("queries", queries)).split(QUERIES):
            yield rows.to(self._device)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, len(self._rows), BLOCK):
            places = slice(start, min(start + BLOCK, len(self._rows)))
            yield places, self._rows[places]

    def _scores(self, queries: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Cosines with every block, less half the hubness: what ranks the texts for one query."""
        directions = F.normalize(queries, dim=1)
        for places, block in self._blocks():
            scores = directions @ block.T * self._scale[places]
            if self._hubness is not None:
                scores -= self._hubness[places] / 2
            yield places.start, scores

    def _likely(self, queries: Tensor, count: int) -> Tensor:
        """(n, count) places that hold the best ones, in float32."""
        best: tuple[Tensor, Tensor] | None = None
        for start, scores in self._scores(queries):
            top, place = scores.topk(min(count, scores.shape[1]), dim=1)
            place += start
            if best is not None:
                top, place = torch.cat((best[0], top), dim=1), torch.cat((best[1], place), dim=1)
                top, chosen = top.topk(min(count, top.shape[1]), dim=1)
                place = place.gather(1, chosen)
            best = top, place
        assert best is not None  # the bank holds a text
        return best[1]

    def _exact(self, queries: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Score the likely ones in float64 and put them in order."""
        used, inverse = places.sort(1).values.unique(return_inverse=True)
        found = self._rows.index_select(0, used)
        hubness = None if self._hubness is None else self._hubness.index_select(0, used)
        if self._device.type == "mps":  # has no float64
            used, inverse, found, queries = used.cpu(), inverse.cpu(), found.cpu(), queries.cpu()
            hubness = hubness if hubness is None else hubness.cpu()
        rows, directions = F.normalize(found.double(), dim=1), F.normalize(queries.double(), dim=1)
        places, scores = used[inverse], torch.einsum("nke,ne->nk", rows[inverse], directions)
        if hubness is not None:
            scores = 2 * scores - hubness.double()[inverse]
        order = scores.round(decimals=DECIMALS).argsort(dim=1, descending=True, stable=True)[:, :count]
        return scores.gather(1, order), places.gather(1, order)

    def _measure_hubness(self, queries: Tensor) -> Tensor:
        """(V,) mean cosine of each text with its ten nearest queries."""
        if len(queries) < HUB_NEIGHBOURS:
            raise ValueError(f"{len(queries)} hub queries; give at least {HUB_NEIGHBOURS}")
        directions = F.normalize(in_memory(float_rows("hub queries", queries)).to(self._device), dim=1)
        found = []
        for places, block in self._blocks():
            nearest = [
                (rows @ directions.T).topk(HUB_NEIGHBOURS, dim=1).values.mean(1) for rows in block.split(QUERIES)
            ]
            found.append(torch.cat(nearest) * self._scale[places])
        return torch.cat(found)
