"""What a vector store of any engine is to its translation.

Shapes: `N` vectors, `n` of a block, `E` width, `T` width of the translated vectors.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from ..data.stored_rows import Rows


class Store(Protocol):
    """The vectors of a store in a fixed order, read block by block; the file itself is never written.

    Raises:
        ImportError: the engine is not installed; the message says how to install it.
        ValueError: the file is no store of this engine, or holds vectors that cannot be read.
    """

    path: Path
    rows: int
    width: int

    def keys(self) -> np.ndarray:
        """(N,) the ids of the vectors, in their order; no id twice."""
        ...

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32 vectors, `size` at a time, from the one at `start` on."""
        ...

    def write(self, path: Path, vectors: Rows) -> None:
        """Write a store of the same kind and the same ids with other vectors.

        Args:
            path: a new file.
            vectors: (N, T), in the order of `keys`.
        """
        ...

    def close(self) -> None:
        """Let the file go, so that it can be replaced."""
        ...


def require(module: str, engine: str, extra: str) -> None:
    """Refuse, with an ImportError, to go on without an engine."""
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"a store of {engine} needs {module}: pip install 'energy-flow[{extra}]'")


def require_some(path: Path, rows: int) -> None:
    """Refuse, with a ValueError, a store without vectors."""
    if not rows:
        raise ValueError(f"{path}: the store holds no vectors; give one that does")
