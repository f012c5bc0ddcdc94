"""Tables of Arrow, as Parquet files and sets of `datasets` hold them: batches of rows become values of Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .options import ReadOptions
from .rows import RawRow
from .texts import cut

ROWS_AT_ONCE = 1024
BUFFER = 1 << 20  # bytes of a column that are read at once


def read_parquet(
    path: Path, columns: Sequence[str], options: ReadOptions, optional: Sequence[str] = ()
) -> Iterator[RawRow]:
    """The rows of a Parquet file: the asked columns alone, some rows at a time.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: not such a file, or a column is missing or there twice.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ImportError("Parquet files need pyarrow: pip install 'energy-flow[text]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as table:  # else a whole row group is held
            chosen = chosen_columns(path, table.schema_arrow.names, columns, optional)
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, columns=chosen):
                for row in rows_of_batch(batch, chosen):
                    number += 1
                    yield RawRow(path, number, row)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({first_line(error)}); give another copy") from error


def chosen_columns(
    place: Path, names: Sequence[str], columns: Sequence[str], optional: Sequence[str] = ()
) -> list[str]:
    """The columns that are read: all that are asked for, and those of the optional ones that are there.

    Raises:
        ValueError: one is missing or there twice.
    """
    for name in columns:
        if name not in names:
            raise ValueError(f"{place}: no column {name!r}; the columns are {cut(', '.join(names))}")
    chosen = [*columns, *(name for name in optional if name in names)]
    for name in chosen:
        if names.count(name) > 1:
            raise ValueError(f"{place}: has the column {name!r} twice; give each column its own name")
    return chosen


def rows_of_batch(batch: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a record batch or a table of Arrow; lists of numbers are arrays."""
    cells = [_values(batch.column(name)) for name in columns]
    for row in zip(*cells, strict=True):
        yield dict(zip(columns, row, strict=True))


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return cut(next(iter(str(error).splitlines()), type(error).__name__))


def _values(column: Any) -> Sequence[Any]:
    """The values of a column: lists of numbers as arrays, all else as Python has it."""
    import pyarrow as pa

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # no chunk at all, or several that do not fit into one
        return [value for chunk in column.chunks for value in _values(chunk)]
    if isinstance(column, pa.ExtensionArray):  # such as a tensor of a fixed shape
        return _values(column.storage)
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return _arrays(column)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # texts that are not UTF-8
        return [_as_text(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _arrays(column: Any) -> Sequence[Any]:
    """The lists of a column as arrays; None where one is null."""
    import pyarrow.compute as pc

    flat = column.flatten()
    numbers = flat.to_numpy(zero_copy_only=False)
    if flat.null_count and numbers.dtype.kind != "f":
        return column.to_pylist()
    found: list[Any] = []
    start = 0
    for length in pc.list_value_length(column).to_pylist():  # type: ignore[attr-defined]
        found.append(None if length is None else numbers[start : start + length])
        start += length or 0
    return found


def _as_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="surrogateescape")
