"""Matrices on disk as float32, float16, or int8 with a scale for each of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import replace_file

DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}
MOST_LOST = {"float16": 0.1, "int8": 0.5}  # of a row's length, where its numbers are small beside what a type holds
Chunks = Callable[[], Iterator[np.ndarray]]


def write_npy_header(file: Any, rows: int, width: int, dtype: str = "<f4") -> None:
    """The head of an `.npy` file of rows, which follow it."""
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": (rows, width)})


class GrowingMatrix:
    """A float32 `.npy` file that grows row by row; its head says how many there are once it is finished.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.width = path, 0, 0
        self._file = path.open("wb")

    def append(self, row: np.ndarray) -> None:
        """Add a row; the first one decides the width."""
        if not self.rows:
            self.width = len(row)
            write_npy_header(self._file, 0, self.width)
        self._file.write(row.astype("<f4").tobytes())
        self.rows += 1

    def finish(self) -> None:
        """Write how many rows there are, and close; a file without rows goes."""
        with self._file as file:
            if self.rows:
                end = file.tell()
                file.seek(0)
                write_npy_header(file, self.rows, self.width)  # NumPy leaves room for the number of rows to grow
                file.seek(end)
        if not self.rows:
            self.path.unlink()

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()


def chunks_of(path: Path, rows_at_once: int) -> Iterator[np.ndarray]:
    """The rows of an `.npy` matrix, some at a time."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        while block := file.read(rows_at_once * shape[1] * dtype.itemsize):
            yield np.frombuffer(block, dtype=dtype).reshape(-1, shape[1])


def scales_of(path: Path) -> Path:
    """The file with the scales of an int8 matrix: `inputs.scales.npy` of `inputs.npy`."""
    return path.with_suffix(".scales.npy")


def write_matrix(path: Path, chunks: Chunks, rows: int, width: int, store: str) -> list[str]:
    """Write a matrix chunk by chunk, whole or not at all.

    Args:
        path: an `.npy` file.
        chunks: gives the (n, width) float32 rows from the beginning, as often as it is called.
        rows: how many there are.
        width: of a row.
        store: a key of `DTYPES`.

    Returns:
        the names of the files: the matrix, and the scales of its columns where it is int8.

    Raises:
        ValueError: a number is too large for float16, or a row's numbers are so small that its direction is lost.
    """
    scales = np.ones(width, dtype=np.float32)
    if store == "int8":
        largest = np.zeros(width, dtype=np.float32)
        for chunk in chunks():
            np.maximum(largest, np.abs(chunk).max(axis=0), out=largest)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        replace_file(scales_of(path), lambda new: save_array(new, scales))

    def write(new: Path) -> None:
        with new.open("wb") as file:
            write_npy_header(file, rows, width, DTYPES[store])
            first = 0
            for chunk in chunks():
                stored = _stored(chunk, scales, store, path)
                if store in MOST_LOST:
                    _require_kept(path, first, chunk, stored * scales, store)
                file.write(np.ascontiguousarray(stored).data)
                first += len(chunk)

    replace_file(path, write)
    return [path.name, scales_of(path).name] if store == "int8" else [path.name]


def _stored(chunk: np.ndarray, scales: np.ndarray, store: str, path: Path) -> np.ndarray:
    if store == "int8":
        return np.rint(chunk / scales).astype(np.int8)
    with np.errstate(over="ignore"):
        found = chunk.astype(DTYPES[store])
    if not np.isfinite(found).all():
        raise ValueError(f"{path}: a number is too large for {store}; store float32")
    return found


def _require_kept(path: Path, first: int, rows: np.ndarray, kept: np.ndarray, store: str) -> None:
    """Refuse, with a ValueError, rows (n, width) of which too much is lost; `first` is the number of the first one."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    unit = np.where(largest > 0, largest, 1)  # squares of small numbers would be zero
    lost = np.linalg.norm((kept - rows) / unit, axis=1)
    too_much = lost > MOST_LOST[store] * np.linalg.norm(rows / unit, axis=1)
    if too_much.any():
        row = int(too_much.argmax())
        raise ValueError(
            f"{path}: row {first + row} (from 0) loses its direction as {store}, as its largest number is "
            f"{float(largest[row, 0]):g}; run the command again with --store float32, or scale the vectors"
        )


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an `.npy` file. A disk that is full raises an OSError that says so, which that of `numpy.save` does not."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        )
        file.write(np.ascontiguousarray(array).data)
