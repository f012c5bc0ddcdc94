"""Matrices on disk as float32, float16, or int8 with a scale for each of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import replace_file

DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}
Chunks = Callable[[], Iterator[np.ndarray]]


def write_npy_header(file: Any, rows: int, width: int, dtype: str = "<f4") -> None:
    """The head of an `.npy` file of rows, which follow it."""
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": (rows, width)})


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
        ValueError: a number is too large for float16.
    """
    scales = np.ones(width, dtype=np.float32)
    if store == "int8":
        largest = np.zeros(width, dtype=np.float32)
        for chunk in chunks():
            np.maximum(largest, np.abs(chunk).max(axis=0), out=largest)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        replace_file(scales_of(path), lambda new: _save(new, scales))

    def write(new: Path) -> None:
        with new.open("wb") as file:
            write_npy_header(file, rows, width, DTYPES[store])
            for chunk in chunks():
                file.write(np.ascontiguousarray(_stored(chunk, scales, store, path)).data)

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


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)
