"""An index file of usearch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.stored_rows import Rows
from .store import require, require_some

MAGIC = b"usearch"
BLOCK = 8192  # vectors that are added at once
READABLE = ("f64", "f32", "f16", "bf16")


class UsearchStore:
    """A usearch index whose vectors are floating; metric, precision and connectivity are kept. See `Store`.

    Args:
        path: the file that `Index.save` wrote.
    """

    def __init__(self, path: Path) -> None:
        require("usearch", "usearch", "usearch")
        from usearch.index import Index, ScalarKind  # type: ignore[attr-defined]

        self.path, self._float = path, ScalarKind.F32
        try:
            found = Index.restore(str(path), view=True)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path}: not a usearch index, or cut ({error}); give a store of faiss, usearch or sqlite-vec"
            ) from error
        if found is None:
            raise ValueError(f"{path}: not a usearch index; give a file that Index.save wrote")
        self._index: Any = found
        kind = self._index.dtype.name.lower()
        if kind not in READABLE:
            raise ValueError(
                f"{path}: holds {kind} numbers, which say too little of the vectors that they were; "
                f"give an index of {', '.join(READABLE)}"
            )
        if self._index.multi:
            raise ValueError(f"{path}: holds several vectors for a key; give an index with one for each")
        self.rows, self.width = len(self._index), int(self._index.ndim)
        require_some(path, self.rows)
        self._keys = np.sort(np.fromiter(self._index.keys, dtype=np.uint64, count=self.rows))

    def keys(self) -> np.ndarray:
        """(N,) uint64, rising."""
        return self._keys

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32."""
        for first in range(start, self.rows, size):
            vectors = self._index.get(self._keys[first : first + size], dtype=self._float)
            yield torch.from_numpy(np.stack(list(vectors)))

    def write(self, path: Path, vectors: Rows) -> None:
        """Build an index of the same kind."""
        from usearch.index import Index

        old = self._index
        new = Index(ndim=vectors.shape[1], metric=old.metric_kind, dtype=old.dtype, connectivity=old.connectivity)
        for first in range(0, self.rows, BLOCK):
            new.add(self._keys[first : first + BLOCK], np.ascontiguousarray(vectors[first : first + BLOCK].numpy()))
        new.save(str(path))

    def close(self) -> None:
        """Let the file go."""
        self._index.reset()
