"""Tables with a column of vectors, read and written block by block.

Shapes: `N` rows, `n` rows of a block, `E` width.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .files import Column, ReadOptions, read_table
from .files.arrow import BUFFER
from .files.cells import list_in
from .files.delimited import DELIMITERS, require_names_once
from .files.opening import format_of

if TYPE_CHECKING:
    import pyarrow as pa

Table = Any  # n rows: a list of dictionaries, or a pyarrow table
INPUT, OUTPUT = "input", "output"  # columns
ZEROS = "is a vector of zeros, which has no direction; leave the row out"
NAMED = 8  # columns in a message
CHECKED = 8192  # rows of a Parquet file that are checked at once


class TableVectors:
    """A column of vectors of a table that a person wrote, such as JSONL or CSV; every row is checked when it is opened.

    Args:
        path: the file, perhaps gzipped.
        column: by default `input`, or the only one of the first row that holds a list.

    Raises:
        ValueError: a row that is none, or has no vector of finite numbers of the same width, with file and line; or two
            columns of one name.
    """

    def __init__(self, path: Path, column: str | None) -> None:
        self.path, self.rows, self.width = path, 0, 0
        self.column = column or ""
        self.columns: dict[str, None] = {}
        if format_of(path) in DELIMITERS:
            require_names_once(path, ReadOptions())
        for vector, beside in self._rows():
            self.columns |= dict.fromkeys(beside)
            self.rows, self.width = self.rows + 1, len(vector)
        if not self.rows:
            raise ValueError(f"{path}: holds no rows; give at least one")

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32, `size` rows at a time."""
        vectors = (vector for vector, _ in islice(self._rows(), start, None))
        while block := list(islice(vectors, size)):
            yield torch.from_numpy(np.stack(block))

    def beside(self, size: int) -> Iterator[list[dict[str, Any]]]:
        """The other columns, `size` rows at a time."""
        rows = (beside for _, beside in self._rows())
        while block := list(islice(rows, size)):
            yield block

    def place_of(self, row: int) -> str:
        """The file and the line of a row."""
        return f"{self.path}:{next(islice(read_table(self.path, []), row, None)).line}"

    def _rows(self) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """The vector of each row, and its other cells."""
        column = Column(self.column, only="vector")
        for raw in read_table(self.path, [self.column] if self.column else []):
            where = f"{self.path}:{raw.line}"
            if isinstance(raw.cells, str):
                raise ValueError(f"{where}: {raw.cells}")
            cells = dict(raw.cells)
            if not self.column:
                self.column = column.name = _column_of(where, {name: _is_list(cell) for name, cell in cells.items()})
            if self.column not in cells:
                raise ValueError(f"{where}: no column {self.column!r}; the columns are {_named(cells) or 'none'}")
            try:
                vector = column.cell(cells.pop(self.column))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            assert not isinstance(vector, str)  # the column takes vectors only
            yield vector, cells


class ParquetVectors:
    """A column of vectors of a Parquet file; this column alone is read, and every row checked when it is opened.

    Args:
        path: the file.
        column: by default `input`, or the only one that holds lists of numbers.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: no such column, or a row that is no vector of finite numbers of the same width; names it.
    """

    def __init__(self, path: Path, column: str | None) -> None:
        self.require()
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)  # else a whole row group is held
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: not a Parquet file ({error}); give another copy") from error
        self.rows, self.schema = self._file.metadata.num_rows, self._file.schema_arrow
        self.columns = dict.fromkeys(self.schema.names)
        if not self.rows:
            raise ValueError(f"{path}: holds no rows; give at least one")
        repeated = next((name for name in self.columns if self.schema.names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"{path}: has the column {repeated!r} twice; give each column its own name")
        lists = {name: _holds_numbers(self.schema.field(name).type) for name in self.schema.names}
        if column is not None and column not in lists:
            raise ValueError(f"{path}: no column {column!r}; the columns are {_named(lists)}")
        self.column = column or _column_of(str(path), lists)
        if not lists[self.column]:
            raise ValueError(
                f"{path}: {self.column} holds {self.schema.field(self.column).type}; give a column of lists of numbers"
            )
        self.width = 0
        for _ in self.blocks(CHECKED):  # each is checked
            pass

    @staticmethod
    def require() -> None:
        """Raise an ImportError where pyarrow is not installed."""
        if importlib.util.find_spec("pyarrow") is None:
            raise ImportError("Parquet needs pyarrow: pip install 'energy-flow[text]'")

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32, `size` rows at a time."""
        row = 0
        for batch in self._file.iter_batches(batch_size=size, columns=[self.column]):
            if row + len(batch) > start:
                yield torch.from_numpy(self._matrix(batch.column(0), row)[max(0, start - row) :])
            row += len(batch)

    def beside(self, size: int) -> Iterator[Table]:
        """The other columns, `size` rows at a time."""
        import pyarrow as pa

        names = [name for name in self.schema.names if name != self.column]
        for batch in self._file.iter_batches(batch_size=size, columns=names or [self.column]):
            yield pa.Table.from_batches([batch]) if names else [{} for _ in range(len(batch))]

    def place_of(self, row: int) -> str:
        """The file, and the row from 0."""
        return f"{self.path}: row {row}"

    def _matrix(self, column: pa.Array, first: int) -> np.ndarray:
        """(n, E) float32 of a column's part that begins with row `first`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        if column.null_count:
            row = first + column.is_null().index(True).as_py()
            raise ValueError(f"{self.path}: row {row}: {self.column} has no value (null); give a vector")
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)  # type: ignore[attr-defined]
        self.width = self.width or int(lengths[0])
        if (lengths != self.width).any() or not self.width:
            row = int((lengths != self.width).argmax())
            raise ValueError(
                f"{self.path}: row {first + row}: {self.column} has width {lengths[row]}, the rows before {self.width}"
            )
        values = column.flatten()
        values = values.cast(pa.float64()) if pa.types.is_decimal(values.type) else values
        with np.errstate(over="ignore"):
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), self.width)
        bad = ~np.isfinite(numbers).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{self.path}: row {first + int(bad.argmax())}: {self.column} holds NaN, null or infinity; "
                "give finite numbers (at most 3.4e38; rows count from 0)"
            )
        if not (some := numbers.any(axis=1)).all():
            raise ValueError(
                f"{self.path}: row {first + int(some.argmin())}: {self.column} {ZEROS} (rows count from 0)"
            )
        return np.ascontiguousarray(numbers)


def write_jsonl(path: Path, blocks: Iterable[tuple[np.ndarray, Table]], column: str = OUTPUT) -> None:
    """Write rows and what stands beside them, a line each; a vector or a number that is not finite is null.

    Args:
        path: the file.
        blocks: (n, T) float32, and the other columns of these rows.
        column: the name of the vectors' column.
    """
    name = json.dumps(column, ensure_ascii=False)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for vectors, beside in blocks:
            number = ",".join(["%.9g"] * vectors.shape[1])  # nine digits tell any two float32 numbers apart
            others = beside if isinstance(beside, list) else beside.to_pylist()
            for vector, row in zip(vectors.tolist(), others, strict=True):
                start = json_of(row)[1:-1]
                value = f"[{number % tuple(vector)}]" if all(map(math.isfinite, vector)) else "null"
                file.write(f"{{{start}{', ' if start else ''}{name}: {value}}}\n")


def write_parquet(
    path: Path, blocks: Iterable[tuple[np.ndarray, Table]], schema: pa.Schema | None, column: str = OUTPUT
) -> None:
    """Write rows and what stands beside them, a row group for each block.

    Args:
        path: the file.
        blocks: (n, T) float32, and the other columns of these rows.
        schema: of the other columns; None takes that of their first block.
        column: the name of the vectors' column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for vectors, beside in blocks:
            others = beside if isinstance(beside, pa.Table) else pa.Table.from_pylist(list(beside), schema)
            flat = pa.array(vectors.reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            whole = others.append_column(column, lists) if others.num_columns else pa.table({column: lists})
            writer = writer or pq.ParquetWriter(path, whole.schema, use_dictionary=others.column_names)
            writer.write_table(whole)
    finally:
        if writer is not None:
            writer.close()


def json_of(row: Any) -> str:
    """A row as JSON; numbers that are not finite, which JSON does not have, are null."""
    try:
        return json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _column_of(where: str, columns: Mapping[str, bool]) -> str:
    """`input`, or the only one of the columns that holds lists."""
    if INPUT in columns:
        return INPUT
    lists = [name for name, holds_lists in columns.items() if holds_lists]
    if len(lists) == 1:
        return lists[0]
    held = _named(lists) if lists else f"none that holds lists of numbers, of {_named(columns) or 'none'}"
    raise ValueError(f"{where}: the columns with vectors are {held}; say which one with --input-column")


def _named(columns: Iterable[str]) -> str:
    """The first columns of a table in a message."""
    names = list(columns)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _holds_numbers(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists:
        return False
    number = kind.value_type
    return pa.types.is_floating(number) or pa.types.is_integer(number) or pa.types.is_decimal(number)


def _is_list(cell: Any) -> bool:
    try:
        return isinstance(cell, list) or (isinstance(cell, str) and list_in(cell) is not None)
    except ValueError:  # a list of which NumPy left numbers out; reading the column says so
        return True
