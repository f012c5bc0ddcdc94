"""Rows of a matrix that stay in their file until they are asked for: sets larger than the memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .storing import scales_of

IN_MEMORY = 256 * 2**20  # bytes up to which a matrix is kept in memory
CHUNK = 8192  # rows that are looked at at once where all are looked at
DENSE = 4  # one read of a span beats many of rows while the span is at most this many times the rows
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class StoredRows:
    """A matrix (N, width) in a file; slices and `index_select` give float32 tensors, as a tensor's would.

    Rows are read, not mapped: mapped pages would count as memory in use, up to the whole file. The file is open only
    while it is read, so the object can be sent to other processes.

    Args:
        path: the file.
        offset: bytes before the first row.
        dtype: of the numbers in the file.
        shape: rows and width in the file.
        index: (N,) the rows of the file that count, in this order; by default all.
        scales: (width,) what the numbers of each column are multiplied by, where they are stored as whole numbers.
    """

    def __init__(
        self,
        path: Path,
        offset: int,
        dtype: torch.dtype,
        shape: tuple[int, int],
        index: Tensor | None = None,
        scales: Tensor | None = None,
    ) -> None:
        self.path, self.offset, self.stored_dtype, self._stored_shape = path, offset, dtype, shape
        self._scales = scales
        self._index = torch.arange(shape[0]) if index is None else index

    @property
    def shape(self) -> tuple[int, int]:
        """(N, width)."""
        return len(self._index), self._stored_shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows that are given out."""
        return torch.float32

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: slice) -> Tensor:
        """The rows of a slice."""
        return self._read(self._index[rows])

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """(len(index), width): the rows of these numbers; `dim` is 0."""
        assert dim == 0, "rows alone can be chosen"
        return self._read(self._index.index_select(0, index))

    def subset(self, index: Tensor) -> StoredRows:
        """The same file, with fewer rows or in another order."""
        chosen = self._index.index_select(0, index)
        return StoredRows(self.path, self.offset, self.stored_dtype, self._stored_shape, chosen, self._scales)

    def _read(self, places: Tensor) -> Tensor:
        rows = self._read_numbers(places)
        return rows if self._scales is None else rows * self._scales

    def _read_numbers(self, places: Tensor) -> Tensor:
        with io.FileIO(self.path) as file:
            if not len(places):
                return torch.empty(0, self.shape[1])
            first, last = int(places.min()), int(places.max())
            if last - first < DENSE * len(places):
                return self._read_span(file, first, last + 1).index_select(0, places - first).float()
            return torch.cat([self._read_span(file, place, place + 1) for place in places.tolist()]).float()

    def _read_span(self, file: io.FileIO, first: int, stop: int) -> Tensor:
        row_bytes = self._stored_shape[1] * self.stored_dtype.itemsize
        buffer = bytearray((stop - first) * row_bytes)
        file.seek(self.offset + first * row_bytes)
        view, filled = memoryview(buffer), 0
        while filled < len(buffer):
            count = file.readinto(view[filled:])
            if not count:
                raise ValueError(f"{self.path}: ends before row {stop}; the file was cut since it was opened")
            filled += count
        return torch.frombuffer(buffer, dtype=self.stored_dtype).view(stop - first, -1)


Rows = Tensor | StoredRows


def float_rows(name: str, rows: Rows | np.ndarray) -> Rows:
    """A matrix as the rest of the package has it: detached float32 where it is. What fits already is not copied.

    Args:
        name: what the caller calls these rows; it leads the message.
        rows: (N, width) floating, a tensor on any device or an array; rows of a file pass through. A number that is
            too large for float32 becomes infinite.

    Raises:
        ValueError: no matrix of floating numbers.
    """
    if isinstance(rows, StoredRows):
        return rows
    if isinstance(rows, np.ndarray):
        if rows.dtype.kind != "f":
            raise ValueError(f"{name} has dtype {rows.dtype}; embeddings are floating: convert with .astype('float32')")
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.require(rows, np.float32, ("C", "W")))
    if not isinstance(rows, Tensor):
        raise ValueError(
            f"{name} is a {type(rows).__name__}; give a torch tensor or a NumPy array of shape (rows, width)"
        )
    if not rows.is_floating_point():
        raise ValueError(f"{name} has dtype {rows.dtype}; embeddings are floating: convert them with .float()")
    return (rows.detach() if rows.requires_grad else rows).to(torch.float32)


def host_rows(name: str, rows: Rows | np.ndarray) -> Rows:
    """As `float_rows`, on the CPU."""
    found = float_rows(name, rows)
    return found if isinstance(found, StoredRows) else found.cpu()


def in_memory(rows: Rows) -> Tensor:
    """All rows as one tensor; those of a file are read."""
    return rows[:] if isinstance(rows, StoredRows) else rows


def chunks(rows: Rows) -> Iterator[Tensor]:
    """All rows, some thousands at a time."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def select_rows(rows: Rows, index: Tensor) -> Rows:
    """Some of the rows: a tensor's are copied, those of a file stay there."""
    return rows.subset(index) if isinstance(rows, StoredRows) else rows.index_select(0, index)


def map_npy(path: Path) -> np.memmap:
    """The array of an `.npy` file, mapped.

    Raises:
        ValueError: not such a file; an archive of several arrays, as `numpy.savez` writes, is none.
    """
    try:
        found = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not an .npy file of numbers ({error}); write it with numpy.save") from error
    if isinstance(found, np.memmap):
        return found
    with found:
        names = ", ".join(found.files)
    raise ValueError(f"{path}: an .npz archive with {names}; write one of them with numpy.save")


def open_npy(path: Path, in_memory: int = IN_MEMORY) -> Rows:
    """The rows of an `.npy` matrix: a tensor while they take at most `in_memory` bytes as float32.

    Raises:
        ValueError: not a matrix of floating numbers in C order.
    """
    matrix = map_npy(path)
    dtypes = {np.dtype("<f8"): torch.float64, np.dtype("<f4"): torch.float32, np.dtype("<f2"): torch.float16}
    scales = None
    if matrix.dtype == np.int8 and matrix.ndim == 2 and scales_of(path).is_file():
        dtypes[matrix.dtype] = torch.int8
        scales = torch.from_numpy(np.load(scales_of(path)))
    if matrix.ndim != 2 or matrix.dtype not in dtypes or not matrix.flags.c_contiguous:
        raise ValueError(
            f"{path}: holds {matrix.dtype} of shape {matrix.shape}; give a matrix of floating numbers in C order"
        )
    height, width = matrix.shape
    stored = StoredRows(path, int(matrix.offset), dtypes[matrix.dtype], (height, width), scales=scales)
    return _open(stored, in_memory)


def open_safetensors(path: Path, name: str, in_memory: int = IN_MEMORY) -> Rows:
    """The rows of one matrix of a `.safetensors` file that is known to be whole.

    Raises:
        ValueError: the file holds no such matrix, or not one of floating numbers.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    if name not in header:
        raise ValueError(f"{path}: holds {', '.join(header) or 'nothing'}, but not {name!r}; add the matrix {name!r}")
    entry = header[name]
    if len(entry["shape"]) != 2 or entry["dtype"] not in DTYPES:
        raise ValueError(
            f"{path}: {name} has shape {tuple(entry['shape'])} and dtype {entry['dtype']}; "
            "give a matrix of shape (rows, width) of floating numbers"
        )
    height, width = entry["shape"]
    stored = StoredRows(path, 8 + size + entry["data_offsets"][0], DTYPES[entry["dtype"]], (height, width))
    return _open(stored, in_memory)


def _open(stored: StoredRows, in_memory: int) -> Rows:
    return stored[:] if 4 * len(stored) * stored.shape[1] <= in_memory else stored
