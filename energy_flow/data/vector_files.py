"""Files of vectors, opened by their suffix: a matrix or a table, read block by block.

Shapes: `N` rows, `n` rows of a block, `E` width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .files import READERS
from .files.opening import format_of
from .stored_rows import DTYPES, StoredRows, map_npy, open_safetensors
from .vector_tables import ZEROS, ParquetVectors, Table, TableVectors

INPUTS, OUTPUTS = "inputs", "outputs"  # the matrix that is read from a `.safetensors` file, and the one that is written
MATRICES, TABLES = (".npy", ".safetensors"), (".jsonl", ".ndjson", ".parquet")  # that are written
READ = (*MATRICES, *READERS)
CHECKED = 8192  # rows that are checked at once


class VectorSource(Protocol):
    """Vectors that are read block by block, and what stands beside them."""

    @property
    def rows(self) -> int:
        """N."""
        ...

    @property
    def width(self) -> int:
        """E."""
        ...

    @property
    def column(self) -> str:
        """The column with the vectors; empty where there are no columns."""
        ...

    @property
    def columns(self) -> Collection[str]:
        """The names of all columns."""
        ...

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32 rows, `size` at a time, from row `start` on."""
        ...

    def beside(self, size: int) -> Iterator[Table]:
        """The other columns of all rows, `size` at a time; empty dictionaries where there are none."""
        ...

    def place_of(self, row: int) -> str:
        """Where a row stands, for messages."""
        ...


class Matrix:
    """The rows of an `.npy` or `.safetensors` file.

    Args:
        path: the file.
        stored: its rows.
    """

    def __init__(self, path: Path, stored: StoredRows | np.ndarray) -> None:
        self.path, self._stored = path, stored
        self.rows, self.width = stored.shape
        self.column, self.columns = "", ()

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32, `size` rows at a time."""
        for first in range(start, self.rows, size):
            block = self._stored[first : first + size]
            with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is named
                yield torch.from_numpy(block.astype(np.float32)) if isinstance(block, np.ndarray) else block

    def beside(self, size: int) -> Iterator[Table]:
        """Nothing stands beside a matrix."""
        for first in range(0, self.rows, size):
            yield [{} for _ in range(min(size, self.rows - first))]

    def place_of(self, row: int) -> str:
        """The file, and the row from 0."""
        return f"{self.path}: row {row}"


def check_output(path: Path) -> None:
    """Refuse, with a ValueError, an output that cannot be written: by its suffix, or as an extra is missing."""
    suffix = path.suffix.lower()
    if suffix not in (*MATRICES, *TABLES):
        raise ValueError(f"--output {path}: the suffix is {path.suffix!r}; give {', '.join((*MATRICES, *TABLES))}")
    if suffix == ".parquet":
        ParquetVectors.require()


def open_vectors(path: Path, key: str | None = None, column: str | None = None) -> VectorSource:
    """Open a file of vectors, and check every row.

    Args:
        path: `.npy`, `.safetensors`, or a table (`READERS`).
        key: the matrix of a `.safetensors` file; by default the only one, or `inputs`.
        column: of a table; by default `input`, or the only one that holds vectors.

    Raises:
        ValueError: no such file, another suffix, no floating matrix, or a row that is no vector of finite numbers.
        ImportError: what reads Parquet is not installed.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a file of vectors ({', '.join(READ)})")
    suffix = format_of(path)
    compressed = path.suffix.lower() == ".gz" and suffix in (*MATRICES, ".parquet")
    if suffix not in READ or compressed:
        raise ValueError(f"{path}: the suffix is {path.suffix!r}; give {', '.join(READ)}")
    if key is not None and suffix != ".safetensors":
        raise ValueError(f"{path}: --key names a matrix of a .safetensors file; leave it out")
    if column is not None and suffix in MATRICES:
        raise ValueError(f"{path}: --input-column names a column of a table; leave it out")
    if suffix == ".parquet":
        return ParquetVectors(path, column)
    if suffix not in MATRICES:
        return TableVectors(path, column)
    matrix = Matrix(path, _open_npy(path) if suffix == ".npy" else _open_safetensors(path, key))
    _check(matrix)
    return matrix


def _open_npy(path: Path) -> StoredRows | np.ndarray:
    matrix = map_npy(path)
    _require_matrix(path, "", tuple(matrix.shape), str(matrix.dtype), matrix.dtype.kind == "f")
    stored = {np.dtype("<f8"): torch.float64, np.dtype("<f4"): torch.float32, np.dtype("<f2"): torch.float16}
    if matrix.dtype in stored and matrix.flags.c_contiguous:
        return StoredRows(path, int(matrix.offset), stored[matrix.dtype], matrix.shape)
    return matrix  # of another byte order, or column after column


def _open_safetensors(path: Path, key: str | None) -> StoredRows | np.ndarray:
    try:
        with safe_open(path, "pt") as file:
            shapes = {
                name: (tuple(part.get_shape()), part.get_dtype())
                for name in file.keys()  # noqa: SIM118
                if (part := file.get_slice(name)) is not None
            }
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); give another copy") from error
    name = _key_of(path, list(shapes), key)
    shape, dtype = shapes[name]
    _require_matrix(path, f"{name} ", shape, dtype, dtype in DTYPES)
    stored = open_safetensors(path, name, in_memory=0)
    assert isinstance(stored, StoredRows)  # nothing fits into no memory
    return stored


def _key_of(path: Path, names: list[str], key: str | None) -> str:
    held = ", ".join(names) or "nothing"
    if key is not None:
        if key not in names:
            raise ValueError(f"{path}: holds {held}, but not {key!r}; give one of them as --key")
        return key
    if len(names) == 1:
        return names[0]
    if INPUTS not in names:
        raise ValueError(f"{path}: holds {held}; say which matrix to take with --key")
    return INPUTS


def _require_matrix(path: Path, name: str, shape: tuple[int, ...], dtype: str, floating: bool) -> None:
    if len(shape) != 2 or not floating:
        raise ValueError(f"{path}: {name}has shape {shape} and dtype {dtype}; give a floating matrix (rows, width)")
    if 0 in shape:
        raise ValueError(f"{path}: {name}has shape {shape} and so holds nothing; give at least one row")


def _check(matrix: Matrix) -> None:
    first, bad, count, zeros = 0, None, 0, None
    for block in matrix.blocks(CHECKED):
        rows = (~block.isfinite().all(dim=1)).nonzero().flatten()
        bad = first + int(rows[0]) if len(rows) and bad is None else bad
        empty = (~block.any(dim=1)).nonzero().flatten()
        zeros = first + int(empty[0]) if len(empty) and zeros is None else zeros
        count, first = count + len(rows), first + len(block)
    if bad is not None:
        raise ValueError(
            f"{matrix.path}: {count} of {matrix.rows} rows hold NaN or infinite numbers, the first is row {bad} "
            "(rows count from 0); remove them (numbers beyond 3.4e38 are infinite in float32)"
        )
    if zeros is not None:
        raise ValueError(f"{matrix.path}: row {zeros} {ZEROS} (rows count from 0)")
