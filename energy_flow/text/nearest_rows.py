"""The nearest rows of a matrix, exactly, by cosine or by CSLS; what has no direction is near to nothing.

Shapes: `N` queries, `V` rows of the bank, `E` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..data.stored_rows import Rows, chunks, float_rows, in_memory
from ..utils.directions import has_direction, unit_rows

QUERIES = 1024  # whose similarities to a block of the bank are held at once
BLOCK = 16384  # rows of the bank in a block
SPARE = 16  # rows found in float32 beyond those asked for, before float64 decides
DECIMALS = 9  # scores that agree in so many are ties, and go by the order of the bank
SAME = 1e-6  # float32 cosines that differ by less are ties
HUB_NEIGHBOURS = 10
NOWHERE = -1  # the place of what is found for a query without direction
NO_HIT = 100  # the least rank of a query without direction: among the first hundred it is never


def _lengths(rows: Tensor) -> Tensor:
    """(N,) the lengths of (N, E) rows; 0 where there is no direction."""
    usable = torch.where(has_direction(rows)[:, None], rows, 0.0)
    largest = usable.abs().amax(dim=1)
    return largest * (usable / torch.where(largest > 0, largest, 1.0)[:, None]).norm(dim=1)


def require_width(queries: Tensor, width: int) -> None:
    """Refuse, with a ValueError, queries that are no (N, width) rows."""
    if queries.dim() != 2 or queries.shape[1] != width:
        raise ValueError(
            f"queries has shape {tuple(queries.shape)}; the bank has rows of width {width}: give (N, {width})"
        )


class NearestRows:
    """Finds the nearest rows of a bank, exactly, by cosine; ties go by the order of the bank.

    With `hub_queries`, hubs (rows that are near to everything) are held back by cross-domain similarity local scaling
    (CSLS, Conneau et al. 2018): the score is twice the cosine, less the mean cosine of the row with its ten nearest
    hub queries. The third term of the CSLS is one number for all rows of a query, and is left out.

    Args:
        embeddings: (V, E) floating; in memory on any device, where the search runs then, or in a file.
        hub_queries: (N, E) queries such as those to come, at least ten with a direction; not with the answers that are
            looked for.
        texts: what the rows are called in messages; by default their numbers.

    Raises:
        ValueError: a row without direction, too few hub queries.
    """

    def __init__(self, embeddings: Rows, hub_queries: Tensor | None = None, texts: Sequence[str] | None = None) -> None:
        embeddings = float_rows("bank embeddings", embeddings)
        norms = torch.cat([_lengths(chunk) for chunk in chunks(embeddings)])
        bad = (norms == 0).nonzero().flatten()
        if len(bad):
            row = int(bad[0])
            name = f"row {row}" if texts is None else f"text {texts[row]!r}"
            raise ValueError(
                f"the bank's {name} has a zero embedding, or one that is not finite, so no direction; remove it"
            )
        self._rows, self._device = embeddings, norms.device
        self._scale = 1 / norms  # the bank itself is not copied
        self._hubness = None if hub_queries is None else self._measure_hubness(hub_queries)

    def __len__(self) -> int:
        return len(self._rows)

    def top(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(N, E) queries to scores (N, count) float64 and places in the bank (N, count) int64, the best first.

        Where a query has no direction, the places are -1 and the scores NaN.
        """
        if not 1 <= count <= len(self):
            raise ValueError(f"count = {count}; give 1 to {len(self)}, the rows of the bank")
        parts = [self._exact(rows, self._likely(rows, count + SPARE), count) for rows in self._chunks(queries)]
        scores, places = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return scores, places

    def ranks(self, queries: Tensor, wanted: Tensor) -> Tensor:
        """(N,) int64: how many other rows score at least as high for each query as the one at its place `wanted` (N,).

        Ties count against the wanted row. A query without direction ranks behind the bank, and never below 100.
        """
        found = []
        for rows, right in zip(self._chunks(queries), wanted.to(self._device).split(QUERIES), strict=True):
            directions = unit_rows(rows)
            own = (directions * self._rows.index_select(0, right)).sum(1) * self._scale[right]
            if self._hubness is not None:
                own -= self._hubness[right] / 2
            rank = torch.zeros_like(right)
            for start, scores in self._scores(directions):
                as_high = scores >= own[:, None] - SAME
                place = right - start
                inside = (place >= 0) & (place < scores.shape[1])
                as_high[inside, place[inside]] = False  # the wanted row itself
                rank += as_high.sum(1)
            found.append(torch.where(has_direction(rows), rank, max(len(self), NO_HIT)).cpu())
        return torch.cat(found)

    def _chunks(self, queries: Tensor) -> Iterator[Tensor]:
        given = in_memory(float_rows("queries", queries))
        require_width(given, self._rows.shape[1])
        for rows in given.split(QUERIES):
            yield rows.to(self._device)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, len(self), BLOCK):
            places = slice(start, min(start + BLOCK, len(self)))
            yield places, self._rows[places]

    def _scores(self, directions: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Cosines with every block, less half the hubness: what ranks the rows for one query."""
        for places, block in self._blocks():
            scores = directions @ block.T * self._scale[places]
            if self._hubness is not None:
                scores -= self._hubness[places] / 2
            yield places.start, scores

    def _likely(self, queries: Tensor, count: int) -> Tensor:
        """(n, count) places that hold the best ones, in float32."""
        best: tuple[Tensor, Tensor] | None = None
        for start, scores in self._scores(unit_rows(queries)):
            top, place = scores.topk(min(count, scores.shape[1]), dim=1)
            place += start
            if best is not None:
                top, place = torch.cat((best[0], top), dim=1), torch.cat((best[1], place), dim=1)
                top, chosen = top.topk(min(count, top.shape[1]), dim=1)
                place = place.gather(1, chosen)
            best = top, place
        assert best is not None  # the bank holds a row
        return best[1]

    def _exact(self, queries: Tensor, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Score the likely ones in float64 and put them in order."""
        used, inverse = places.sort(1).values.unique(return_inverse=True)
        found = self._rows.index_select(0, used)
        hubness = None if self._hubness is None else self._hubness.index_select(0, used)
        if self._device.type == "mps":  # has no float64
            used, inverse, found, queries = used.cpu(), inverse.cpu(), found.cpu(), queries.cpu()
            hubness = hubness if hubness is None else hubness.cpu()
        rows, directions = unit_rows(found.double()), unit_rows(queries.double())
        places, scores = used[inverse], torch.einsum("nke,ne->nk", rows[inverse], directions)
        if hubness is not None:
            scores = 2 * scores - hubness.double()[inverse]
        order = scores.round(decimals=DECIMALS).argsort(dim=1, descending=True, stable=True)[:, :count]
        usable = has_direction(queries)[:, None]
        scores, places = scores.gather(1, order), places.gather(1, order)
        return torch.where(usable, scores, torch.nan), torch.where(usable, places, NOWHERE)

    def _measure_hubness(self, queries: Tensor) -> Tensor:
        """(V,) mean cosine of each row with its ten nearest queries."""
        given = in_memory(float_rows("hub queries", queries))
        given = given[has_direction(given)]
        if len(given) < HUB_NEIGHBOURS:
            raise ValueError(f"{len(given)} hub queries; give at least {HUB_NEIGHBOURS} that are finite and not zero")
        directions = unit_rows(given.to(self._device))
        found = []
        for places, block in self._blocks():
            nearest = [
                (rows @ directions.T).topk(HUB_NEIGHBOURS, dim=1).values.mean(1) for rows in block.split(QUERIES)
            ]
            found.append(torch.cat(nearest) * self._scale[places])
        return torch.cat(found)
