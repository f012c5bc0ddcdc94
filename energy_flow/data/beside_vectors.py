"""What stands beside vectors in a table, held against the file that it will be written to before rows are computed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files.arrow import first_line
from .vector_files import TABLES, VectorSource
from .vector_tables import Table, json_of

if TYPE_CHECKING:
    import pyarrow as pa

FIX = "write to a .jsonl file"


def check_beside(source: VectorSource, path: Path, size: int) -> pa.Schema | None:
    """Refuse columns beside the vectors that the file cannot hold.

    Args:
        source: vectors, perhaps of a table.
        path: what will be written.
        size: rows that are read at once.

    Returns:
        these columns as a Parquet file will have them; None where another file is written, or there are none.

    Raises:
        ValueError: a value that the file cannot hold; names its row.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES or not source.columns:
        return None
    if suffix == ".parquet":
        return _schema_of(source, path, size)
    for block in _writable(source, size):
        if not isinstance(block, list):
            _require_rows(path, block)
    return None


def _schema_of(source: VectorSource, path: Path, size: int) -> pa.Schema | None:
    """The columns over all blocks: of a type that holds every value, and that Parquet has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole: pa.Schema | None = None
    different: list[pa.Schema] = []
    for first, block in _numbered(_writable(source, size)):
        if isinstance(block, pa.Table):
            return block.schema
        with _fitting(source, path, block, first):
            schema = pa.Table.from_pylist(_filled(block)).schema
            different += [schema] if schema not in different else []
            whole = pa.unify_schemas([*([] if whole is None else [whole]), schema], promote_options="permissive")
    if whole is None:
        return None
    with _fitting(source, path, [], 0):
        pq.ParquetWriter(io.BytesIO(), whole).close()  # refuses types that Parquet does not have
    if len(different) > 1:  # a number may fit into the type of its block and not into that of all
        for first, block in _numbered(source.beside(size)):
            with _fitting(source, path, block, first, whole):
                pa.Table.from_pylist(block, whole)
    return whole


def _writable(source: VectorSource, size: int) -> Iterator[Table]:
    """What stands beside the vectors; a letter that no file can hold is refused with its row."""
    for first, block in _numbered(source.beside(size)):
        for row, cells in enumerate(block if isinstance(block, list) else (), first):
            try:
                json_of(cells).encode()
            except UnicodeEncodeError as error:
                letter = ascii(error.object[error.start])
                raise ValueError(
                    f"{source.place_of(row)}: a column beside the vectors holds half a surrogate pair ({letter}); "
                    "write the whole letter, or give --output an .npy file, which holds no texts"
                ) from None
        yield block


def _numbered(blocks: Iterator[Table]) -> Iterator[tuple[int, Table]]:
    """Every block with the number of its first row."""
    first = 0
    for block in blocks:
        yield first, block
        first += len(block)


@contextlib.contextmanager
def _fitting(
    source: VectorSource, path: Path, block: list[dict[str, Any]], first: int, schema: pa.Schema | None = None
) -> Iterator[None]:
    """Say which row it is that Parquet cannot hold: the first one that fails by itself."""
    import pyarrow as pa

    errors = (pa.ArrowException, OverflowError, TypeError)
    try:
        yield
    except errors as error:
        for row, cells in enumerate(block, first):
            try:
                pa.Table.from_pylist([cells], schema)
            except errors as own:
                reason = first_line(own)
                raise ValueError(f"{source.place_of(row)}: does not fit into Parquet ({reason}); {FIX}") from own
        raise ValueError(
            f"{path}: a column holds values of several kinds, or of one that Parquet does not have "
            f"({first_line(error)}); {FIX}"
        ) from error


def _require_rows(path: Path, block: pa.Table) -> None:
    try:
        block.to_pylist()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a column beside the vectors is not UTF-8 ({error}); convert it") from error


def _filled(block: Table) -> list[dict[str, Any]]:
    """Rows that all have the columns of any of them."""
    names = dict.fromkeys(name for row in block for name in row)
    return [{name: row.get(name) for name in names} for row in block]
