"""Tables with a column of vectors: JSONL and Parquet, read and written block by block.

Shapes: `N` rows, `n` rows of a block, `E` width.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pyarrow as pa

Table = Any  # n rows: a list of dictionaries, or a pyarrow table
INPUT, OUTPUT = "input", "output"  # columns
CHECKED = 8192  # rows of a Parquet file that are checked at once
_SHOWN = 60  # letters of a value in a message


class JsonlVectors:
    """A column of vectors of a JSONL file; every line is checked when it is opened.

    Args:
        path: the file, perhaps gzipped.
        column: by default `input`, or the only one of the first row that holds a list.

    Raises:
        ValueError: a line that is no object, or has no vector of finite numbers of the same width; names file and line.
    """

    def __init__(self, path: Path, column: str | None) -> None:
        self.path, self.rows, self.width = path, 0, 0
        self.column = column or ""
        self.columns: dict[str, None] = {}
        for line, row in self._lines():
            self.columns |= dict.fromkeys(row)
            self.column = self.column or _column_of(f"{path}:{line}", {name: row[name] for name in row})
            vector = self._vector(line, row)
            self.width = self.width or len(vector)
            if len(vector) != self.width:
                raise ValueError(
                    f"{path}:{line}: {self.column} has width {len(vector)}, the lines before have {self.width}"
                )
            self.rows += 1
        if not self.rows:
            raise ValueError(f"{path}: holds no rows; give at least one")

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32, `size` rows at a time."""
        block: list[np.ndarray] = []
        for number, (line, row) in enumerate(self._lines()):
            if number >= start:
                block.append(self._vector(line, row))
            if len(block) == size:
                yield torch.from_numpy(np.stack(block))
                block = []
        if block:
            yield torch.from_numpy(np.stack(block))

    def beside(self, size: int) -> Iterator[list[dict[str, Any]]]:
        """The other columns, `size` rows at a time."""
        block: list[dict[str, Any]] = []
        for _, row in self._lines():
            block.append({name: value for name, value in row.items() if name != self.column})
            if len(block) == size:
                yield block
                block = []
        if block:
            yield block

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        opened = gzip.open if self.path.suffix.lower() == ".gz" else open
        with opened(self.path, "rt", encoding="utf-8-sig") as lines:
            yield from _objects(self.path, lines)  # type: ignore[arg-type]

    def _vector(self, line: int, row: Mapping[str, Any]) -> np.ndarray:
        where = f"{self.path}:{line}"
        if self.column not in row:
            raise ValueError(f"{where}: no column {self.column!r}; the columns are {', '.join(row) or 'none'}")
        value = row[self.column]
        if value is None:
            raise ValueError(f"{where}: {self.column} has no value (null); give a vector, or remove the line")
        numbers = isinstance(value, list) and all(type(one) in (int, float) for one in value)
        if not numbers or not value:
            raise ValueError(f"{where}: {self.column} is {_short(value)}; give a list of numbers")
        try:
            with np.errstate(over="ignore"):
                vector = np.array(value, dtype=np.float64).astype(np.float32)
        except OverflowError as error:
            raise ValueError(f"{where}: {self.column} holds a whole number that is too large for float32") from error
        if not np.isfinite(vector).all():
            place = int((~np.isfinite(vector)).argmax())
            raise ValueError(
                f"{where}: {self.column} holds {value[place]} at place {place}; give finite numbers (at most 3.4e38)"
            )
        return vector


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
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: not a Parquet file ({error}); give another copy") from error
        self.rows, self.schema = self._file.metadata.num_rows, self._file.schema_arrow
        self.columns = dict.fromkeys(self.schema.names)
        if not self.rows:
            raise ValueError(f"{path}: holds no rows; give at least one")
        lists = {name: [] if _holds_numbers(self.schema.field(name).type) else None for name in self.schema.names}
        if column is not None and column not in lists:
            raise ValueError(f"{path}: no column {column!r}; the columns are {', '.join(lists)}")
        self.column = column or _column_of(str(path), lists)
        if lists[self.column] is None:
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

    def _matrix(self, column: pa.Array, first: int) -> np.ndarray:
        """(n, E) float32 of a column's part that begins with row `first`."""
        import pyarrow.compute as pc

        if column.null_count:
            row = first + column.is_null().index(True).as_py()
            raise ValueError(f"{self.path}: row {row}: {self.column} has no value (null); give a vector")
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        self.width = self.width or int(lengths[0])
        if (lengths != self.width).any() or not self.width:
            row = int((lengths != self.width).argmax())
            raise ValueError(
                f"{self.path}: row {first + row}: {self.column} has width {lengths[row]}, the rows before {self.width}"
            )
        values = column.flatten()
        with np.errstate(over="ignore"):
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), self.width)
        bad = ~np.isfinite(numbers).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{self.path}: row {first + int(bad.argmax())}: {self.column} holds NaN, null or infinity; "
                "give finite numbers (at most 3.4e38; rows count from 0)"
            )
        return np.ascontiguousarray(numbers)


def write_jsonl(path: Path, blocks: Iterable[tuple[Tensor, Table]], column: str = OUTPUT) -> None:
    """Write rows and what stands beside them, a line each; a vector that is not finite is null.

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
                start = json.dumps(row, ensure_ascii=False, default=str)[1:-1]
                value = f"[{number % tuple(vector)}]" if all(map(math.isfinite, vector)) else "null"
                file.write(f"{{{start}{', ' if start else ''}{name}: {value}}}\n")


def write_parquet(
    path: Path, blocks: Iterable[tuple[Tensor, Table]], schema: pa.Schema | None, column: str = OUTPUT
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
            flat = pa.array(np.ascontiguousarray(vectors.numpy()).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            whole = others.append_column(column, lists) if others.num_columns else pa.table({column: lists})
            writer = writer or pq.ParquetWriter(path, whole.schema)
            writer.write_table(whole)
    finally:
        if writer is not None:
            writer.close()


def schema_of(blocks: Iterable[Table]) -> pa.Schema | None:
    """The columns of rows that JSON gave, over all blocks: of a type that holds every value.

    Raises:
        ValueError: a column with values of kinds that go together in no type, such as texts and numbers.
    """
    import pyarrow as pa

    found: list[pa.Schema] = []
    for block in blocks:
        if isinstance(block, pa.Table):
            return block.schema
        try:
            found = [
                pa.unify_schemas([*found, pa.Table.from_pylist(_filled(block)).schema], promote_options="permissive")
            ]
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"a column holds values of several kinds ({error}); write to a .jsonl file") from error
    return found[0] if found else None


def _filled(block: Table) -> list[dict[str, Any]]:
    """Rows that all have the columns of any of them."""
    names = dict.fromkeys(name for row in block for name in row)
    return [{name: row.get(name) for name in names} for row in block]


def _objects(path: Path, lines: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f'the line is {_short(row)}; give an object such as {{"input": [0.1, 0.2]}}')
            yield number, row
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{number + 1}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except (json.JSONDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}:{max(1, number)}: not JSON ({error}); give an object a line") from error
    except ValueError as error:
        raise ValueError(f"{path}:{number}: {error}") from error


def _column_of(where: str, columns: Mapping[str, Any]) -> str:
    """`input`, or the only column with a list."""
    if INPUT in columns:
        return INPUT
    lists = [name for name, value in columns.items() if isinstance(value, list)]
    if len(lists) == 1:
        return lists[0]
    held = ", ".join(lists) if lists else f"none that holds lists of numbers, of {', '.join(columns) or 'none'}"
    raise ValueError(f"{where}: the columns with vectors are {held}; say which one with --input-column")


def _holds_numbers(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
