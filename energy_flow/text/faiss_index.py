"""Embedding to text among millions: a faiss index finds the likely ones, their own embeddings give the scores."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.stored_rows import Rows, chunks, host_rows, in_memory
from ..utils.directions import has_direction, unit_rows
from .decoder import Match
from .nearest_rows import NOWHERE, require_width

TRAINING_ROWS_PER_LIST = 64
MOST_LISTS = 65_536
QUERIES = 256


class ApproximateTexts:
    """Decodes embeddings to near texts of a large bank: fast, and not always the nearest.

    An inverted file with 8-bit codes (`IVF,SQ8`); the texts it finds are scored by the cosine with their own rows.
    `python -m benchmarks.text.decoding --faiss` measures how many of the nearest it finds.

    Args:
        texts: V texts.
        embeddings: (V, E), one row per text; in memory or in a file.
        probes: lists that are searched for each query: more find more and take longer.
        index: the index that `save` wrote for this bank, instead of a new one.

    Raises:
        ImportError: faiss is not installed.
        ValueError: counts that differ, or an index of another bank.
    """

    def __init__(self, texts: Sequence[str], embeddings: Rows, probes: int = 128, index: Path | None = None) -> None:
        if importlib.util.find_spec("faiss") is None:
            raise ImportError("an approximate index needs faiss: pip install 'energy-flow[faiss]'")
        if len(texts) != len(embeddings):
            raise ValueError(
                f"the bank has {len(texts)} texts and {len(embeddings)} embeddings; give one embedding per text"
            )
        if probes < 1:
            raise ValueError(f"probes = {probes}; give at least 1")
        import faiss

        self._faiss = faiss
        self.texts, self._rows = texts, host_rows("bank embeddings", embeddings)
        self._index: Any = self._build() if index is None else self._read(index)
        if (self._index.ntotal, self._index.d) != (len(embeddings), embeddings.shape[1]):
            raise ValueError(
                f"{index}: holds {self._index.ntotal} rows of width {self._index.d}, the bank {len(embeddings)} of "
                f"width {embeddings.shape[1]}; give the index of this bank"
            )
        self._index.nprobe = probes

    def __call__(self, queries: Tensor, count: int = 5) -> list[list[Match]]:
        """(N, E) queries to at most `count` near texts each, the nearest first; none for one without direction."""
        if not 1 <= count <= len(self.texts):
            raise ValueError(f"count = {count}; give 1 to {len(self.texts)}, the texts of the bank")
        found: list[list[Match]] = []
        given = in_memory(host_rows("queries", queries))
        require_width(given, self._rows.shape[1])
        for rows, usable in zip(unit_rows(given).split(QUERIES), has_direction(given).split(QUERIES), strict=True):
            _, places = self._index.search(rows.numpy(), 2 * count)
            places[~usable.numpy()] = NOWHERE
            for query, row_places in zip(rows, torch.from_numpy(places), strict=True):
                likely = row_places[row_places >= 0]
                scores = F.cosine_similarity(query[None], self._rows.index_select(0, likely), dim=1)
                order = scores.argsort(descending=True)[:count]
                found.append([Match(self.texts[int(likely[one])], float(scores[one])) for one in order])
        return found

    def save(self, path: Path) -> None:
        """Write the index; the bank's own files stay where they are."""
        self._faiss.write_index(self._index, str(path))

    def _read(self, path: Path) -> Any:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give an index that `save` wrote")
        try:
            return self._faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path}: no whole faiss index ({str(error).splitlines()[-1]}); build it anew") from error

    def _build(self) -> Any:
        count, width = self._rows.shape
        lists = max(1, min(MOST_LISTS, int(4 * math.sqrt(count)), count // TRAINING_ROWS_PER_LIST))
        index = self._faiss.index_factory(width, f"IVF{lists},SQ8", self._faiss.METRIC_INNER_PRODUCT)
        chosen = torch.arange(0, count, max(1, count // (lists * TRAINING_ROWS_PER_LIST)))
        index.train(F.normalize(self._rows.index_select(0, chosen), dim=1).numpy())
        for chunk in chunks(self._rows):
            index.add(F.normalize(chunk, dim=1).numpy())
        return index
