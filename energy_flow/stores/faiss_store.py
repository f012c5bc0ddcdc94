"""An index file of faiss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.stored_rows import Rows
from .store import require, require_some

KINDS = ("IndexFlat", "IndexHNSWFlat", "IndexScalarQuantizer", "IndexIVFFlat", "IndexIVFScalarQuantizer")
WRAPPERS = ("IndexIDMap", "IndexIDMap2")
TRAINING_ROWS = 100_000  # at most, for lists and codes
LEAST_TRAINING_ROWS = 256  # codes of a byte are trained with as many at least; fewer vectors are taken several times
BLOCK = 8192  # vectors that are added at once


class FaissStore:
    """A faiss index from which vectors can be read: flat, HNSW, 8-bit or 16-bit codes, and lists of these. See `Store`.

    Kind, metric, ids, and the settings of lists and graph are kept.

    Args:
        path: the file that `faiss.write_index` wrote.
    """

    def __init__(self, path: Path) -> None:
        require("faiss", "faiss", "faiss")
        import faiss

        self.path, self._faiss = path, faiss
        try:
            self._owner = faiss.read_index(str(path))  # what follows lives as long as this object
        except RuntimeError as error:
            raise ValueError(f"{path}: not a whole faiss index ({_reason(error)}); give another copy") from error
        outer: Any = faiss.downcast_index(self._owner)  # the classes of SWIG are known when it runs
        self._wrapper = type(outer).__name__ if type(outer).__name__ in WRAPPERS else None
        self._index: Any = faiss.downcast_index(outer.index) if self._wrapper else outer
        kind = type(self._index).__name__
        if kind in ("IndexFlatL2", "IndexFlatIP", "IndexFlat1D"):
            kind = "IndexFlat"
        if kind not in KINDS:
            raise ValueError(f"{path}: an {kind} does not give its vectors back; give one of {', '.join(KINDS)}")
        self._kind, self.rows, self.width = kind, int(outer.ntotal), int(outer.d)
        require_some(path, self.rows)
        self._inner = self._inner_ids()
        self._keys = faiss.vector_to_array(outer.id_map).copy() if self._wrapper else self._inner
        twice = self.rows - len(np.unique(self._keys))
        if twice or len(self._inner) != self.rows:
            raise ValueError(f"{path}: {twice} ids stand for several vectors; give an index in which ids are unique")

    def keys(self) -> np.ndarray:
        """(N,) int64."""
        return self._keys

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32; of codes, what they stand for."""
        for first in range(start, self.rows, size):
            ids = self._inner[first : first + size]
            if self._kind.startswith("IndexIVF"):
                yield torch.from_numpy(self._index.reconstruct_batch(ids))
            else:
                yield torch.from_numpy(self._index.reconstruct_n(first, len(ids)))

    def write(self, path: Path, vectors: Rows) -> None:
        """Build an index of the same kind."""
        new = self._empty(vectors.shape[1])
        if not new.is_trained:
            chosen = torch.arange(0, self.rows, max(1, self.rows // TRAINING_ROWS))
            chosen = chosen.repeat(-(-max(LEAST_TRAINING_ROWS, getattr(new, "nlist", 1)) // len(chosen)))
            new.train(np.ascontiguousarray(vectors.index_select(0, chosen).numpy()))
        outer = getattr(self._faiss, self._wrapper)(new) if self._wrapper else new
        with_ids = self._wrapper is not None or self._kind.startswith("IndexIVF")
        for first in range(0, self.rows, BLOCK):
            block = np.ascontiguousarray(vectors[first : first + BLOCK].numpy())
            if with_ids:
                outer.add_with_ids(block, self._keys[first : first + BLOCK])
            else:
                outer.add(block)
        self._faiss.write_index(outer, str(path))

    def close(self) -> None:
        """Nothing is open: the index is in memory."""

    def _inner_ids(self) -> np.ndarray:
        """(N,) the ids within the index that a wrapper holds."""
        if not self._kind.startswith("IndexIVF"):
            return np.arange(self.rows, dtype=np.int64)
        lists, faiss = self._index.invlists, self._faiss
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
            for number in range(self._index.nlist)
            if lists.list_size(number)
        ]
        return np.unique(np.concatenate(parts))

    def _empty(self, width: int) -> Any:
        """An index of the same kind without vectors."""
        old, faiss = self._index, self._faiss
        metric = old.metric_type
        if self._kind == "IndexFlat":
            return faiss.IndexFlat(width, metric)
        if self._kind == "IndexHNSWFlat":
            new = faiss.IndexHNSWFlat(width, old.hnsw.nb_neighbors(1), metric)
            new.hnsw.efConstruction, new.hnsw.efSearch = old.hnsw.efConstruction, old.hnsw.efSearch
            return new
        if self._kind == "IndexScalarQuantizer":
            return faiss.IndexScalarQuantizer(width, old.sq.qtype, metric)
        coarse = faiss.IndexFlat(width, metric)
        if self._kind == "IndexIVFFlat":
            new = faiss.IndexIVFFlat(coarse, width, old.nlist, metric)
        else:
            new = faiss.IndexIVFScalarQuantizer(coarse, width, old.nlist, old.sq.qtype, metric, old.by_residual)
        new.nprobe = old.nprobe
        coarse.this.disown()  # the lists own their coarse index, and must outlive this function
        new.own_fields = True
        return new


def _reason(error: Exception) -> str:
    """The last line of what faiss says."""
    return str(error).strip().splitlines()[-1][:200]
