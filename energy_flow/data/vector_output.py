"""Vectors to a file, block by block: a command that is killed goes on where it stopped, and the file is there whole.

What is done lies beside the file until it is finished: the rows so far in `.NAME.partial`, an `.npy` file, and in
`.NAME.partial.json` how many of them are on the disk and what they were made of.

Shapes: `N` rows, `n` rows of a block, `T` width.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ..utils.files import replace_file, sync_file, sync_folder
from .pair_folder import write_json
from .stored_rows import StoredRows
from .storing import write_npy_header
from .vector_files import OUTPUTS
from .vector_tables import OUTPUT, Table, write_jsonl, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 8192  # rows that are copied at once
PATIENCE = 0.5  # seconds until a lock that is held counts as somebody's


class UnfinishedRows:
    """(N, T) float32 rows that are written beside a file; use it as a context.

    Args:
        path: the file that they are for.
        rows: N.
        width: T.
        made_of: what the rows follow from, such as checksums; rows of another origin are begun anew.

    Raises:
        ValueError: another process writes them.
    """

    def __init__(self, path: Path, rows: int, width: int, made_of: Mapping[str, Any]) -> None:
        self.path, self.rows, self.width = path.resolve() if path.is_symlink() else path, rows, width
        self.partial = self.path.with_name(f".{self.path.name}.partial")
        self._note = note_of(self.path)
        self._lock = FileLock(self.partial.with_suffix(".partial.lock"))
        self._made_of = {"rows": rows, "width": width, **made_of}
        self.done = 0

    def __enter__(self) -> UnfinishedRows:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise ValueError(
                f"{self.path}: another process writes it; wait for its end, or name another file"
            ) from None
        try:
            self.done = self._done_before()
            if not self.done:
                with self.partial.open("wb") as file:
                    write_npy_header(file, self.rows, self.width)
                self._note_down()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        with contextlib.suppress(OSError):  # Windows keeps it where another process waits for it
            Path(self._lock.lock_file).unlink(missing_ok=True)

    def append(self, block: Tensor) -> None:
        """Write (n, T) rows, and bring them to the disk before they count."""
        with self.partial.open("rb+") as file:
            file.seek(self.offset + self.done * self.width * 4)
            file.write(np.ascontiguousarray(block.numpy(), dtype="<f4").data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.done += len(block)
        self._note_down()

    def stored(self) -> StoredRows:
        """The rows that are done."""
        return StoredRows(self.partial, self.offset, torch.float32, (self.done, self.width))

    def remove(self) -> None:
        """Remove what lies beside the file."""
        for path in (self.partial, self._note):
            path.unlink(missing_ok=True)

    @property
    def offset(self) -> int:
        """Bytes before the first row."""
        with self.partial.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return file.tell()

    def _done_before(self) -> int:
        """The rows that an earlier process left, where they are of this origin."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            whole = self.partial.stat().st_size >= self.offset + note["done"] * self.width * 4
            return note["done"] if whole and note["made_of"] == json.loads(json.dumps(self._made_of)) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _note_down(self) -> None:
        write_json(self._note, {"made_of": self._made_of, "done": self.done})


def note_of(path: Path) -> Path:
    """The note beside a file that is being written: the longest name that is needed there."""
    return path.with_name(f".{path.name}.partial.json")


def finish(
    unfinished: UnfinishedRows,
    beside: Callable[[], Iterable[Table]],
    column: str = OUTPUT,
    schema: pa.Schema | None = None,
) -> None:
    """Bring all rows into the file that they are for, by its suffix, whole or not at all.

    Args:
        unfinished: all N rows.
        beside: the other columns, block by block; asked for where the file is a table.
        column: the name of the vectors' column in a table.
        schema: of the other columns, as `check_beside` gives it.
    """
    assert unfinished.done == unfinished.rows, "some rows are missing"
    path = unfinished.path
    suffix = path.suffix.lower()
    if suffix == ".npy":
        sync_file(unfinished.partial)
        os.replace(unfinished.partial, path)
        sync_folder(path.parent)
    elif suffix == ".safetensors":
        replace_file(path, lambda new: _write_safetensors(new, unfinished.stored(), OUTPUTS))
    elif suffix == ".parquet":
        replace_file(path, lambda new: write_parquet(new, _beside(unfinished, beside()), schema, column))
    else:
        replace_file(path, lambda new: write_jsonl(new, _beside(unfinished, beside()), column))
    unfinished.remove()


def _beside(unfinished: UnfinishedRows, tables: Iterable[Table]) -> Iterator[tuple[np.ndarray, Table]]:
    """Blocks of rows with what stands beside them."""
    with unfinished.partial.open("rb") as file:
        file.seek(unfinished.offset)
        for table in tables:
            numbers = np.fromfile(file, dtype="<f4", count=len(table) * unfinished.width)
            yield numbers.reshape(-1, unfinished.width), table


def _write_safetensors(path: Path, rows: StoredRows, name: str) -> None:
    """The format is: eight bytes with the length of a JSON header, the header, the numbers."""
    size = len(rows) * rows.shape[1] * 4
    entry = {"dtype": "F32", "shape": list(rows.shape), "data_offsets": [0, size]}
    header = json.dumps({name: entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for first in range(0, len(rows), BLOCK):
            file.write(np.ascontiguousarray(rows[first : first + BLOCK].numpy(), dtype="<f4").data)
