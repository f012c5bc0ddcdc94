"""Tables of Arrow: Parquet files and sets of `datasets`. The asked columns alone are read, some rows at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .options import ReadOptions
from .rows import RawRow, split_named

ROWS_AT_ONCE = 1024


def read_parquet(path: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """The rows of a Parquet file.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: no such file, or a column is missing.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ImportError("Parquet files need pyarrow: pip install 'energy-flow[text]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            _require(path, table.schema_arrow.names, columns)
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(columns)):
                for row in rows_of_batch(batch, columns):
                    number += 1
                    yield RawRow(path, number, row)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({_first_line(error)}); give another copy") from error


def rows_of_batch(batch: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a record batch or a table of Arrow; lists of numbers are arrays."""
    cells = [_values(batch.column(name)) for name in columns]
    for row in zip(*cells, strict=True):
        yield dict(zip(columns, row, strict=True))


def _values(column: Any) -> Sequence[Any]:
    """The values of a column: lists of numbers as arrays, all else as Python has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # no chunk at all, or several that do not fit into one
        return column.to_pylist()
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return column.to_pylist()
    flat = column.flatten()
    numbers = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=None)
    if flat.null_count and numbers.dtype.kind != "f":
        return column.to_pylist()
    lengths = pc.list_value_length(column).to_pylist()
    found: list[Any] = []
    start = 0
    for length in lengths:
        found.append(None if length is None else numbers[start : start + length])
        start += length or 0
    return found


def open_dataset(source: Path, options: ReadOptions) -> Any:
    """What `datasets` has in a folder that `save_to_disk` wrote, or under a name.

    Raises:
        ImportError: `datasets` is not installed.
        ValueError: nothing of this name could be loaded.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ImportError(
            f"{source} is no file, so it is read with the library datasets: pip install 'energy-flow[hub]'"
        )
    import datasets

    try:
        if source.is_dir():
            return datasets.load_from_disk(str(source))
        more = {"revision": options.revision, "streaming": options.streaming}
        return datasets.load_dataset(source.as_posix(), options.subset, **more)
    except Exception as error:  # the library raises what its many backends raise
        raise ValueError(
            f"{source}: datasets could not load it ({type(error).__name__}: {_first_line(error)}); give a folder that "
            "save_to_disk wrote, a name on the hub (needs the network), or a file"
        ) from error


def read_dataset(source: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """The rows of a set, whatever format it was saved with; the splits that it has are kept.

    Raises:
        ValueError: it has no split of training, or a column is missing.
    """
    loaded = open_dataset(source, options)
    splits = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
    known = {name: split_named(name) for name in splits}
    if "" not in splits and 0 not in known.values():
        raise ValueError(f"{source}: has the splits {', '.join(splits)}, but no train; save the split that you mean")
    whole = "" in splits or set(known.values()) <= {0, None}  # rows of training alone are split here
    for name, table in splits.items():
        if known[name] is None and name:
            continue
        place = source if len(splits) == 1 else source / name
        for number, row in enumerate(_table_rows(place, table, columns), start=1):
            yield RawRow(place, number, row, None if whole else known[name])


def fingerprint_of_dataset(source: Path, options: ReadOptions) -> str:
    """What tells a set of `datasets` from another: the fingerprints of its tables, or its name and revision."""
    loaded = open_dataset(source, options)
    tables = [loaded[name] for name in sorted(loaded)] if isinstance(loaded, dict) else [loaded]
    marks = [str(getattr(table, "_fingerprint", "")) for table in tables]
    return "-".join(marks) if all(marks) else f"{source}@{options.revision}/{options.subset}"


def _table_rows(place: Path, table: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    names = table.column_names
    if names is None:  # a stream that does not say
        yield from ({name: row.get(name) for name in columns} for row in table)
        return
    _require(place, names, columns)
    table = table.select_columns(list(columns))
    words = {name: feature for name in columns if hasattr(feature := table.features[name], "int2str")}
    for batch in table.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        for row in rows_of_batch(batch, columns):
            for name, feature in words.items():
                row[name] = None if row[name] is None else feature.int2str(row[name])
            yield row


def _require(place: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in names:
            raise ValueError(f"{place}: no column {name!r}; the columns are {', '.join(names)}")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
