"""CSV and TSV, as spreadsheets, pandas and databases write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .cells import shown
from .opening import format_of, lines_of
from .options import ReadOptions
from .rows import RawRow

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
NAMES = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
LONGEST_CELL = 2**31 - 1  # letters; the largest limit that every system takes


class _Lines:
    """Lines, counted."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.read = lines, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.read += 1
        return line


def read_delimited(path: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """The rows of a delimited file.

    Args:
        path: the file.
        columns: that are asked for; all of them must be there.
        options: delimiter, quoting, encoding, and names where the file has no header.

    Raises:
        ValueError: a column is missing or there twice; the message says what the header may lack.
    """
    if csv.field_size_limit() < LONGEST_CELL:  # of the whole process, so it is never made smaller here
        csv.field_size_limit(LONGEST_CELL)
    lines = _Lines(lines_of(path, options.encoding))
    delimiter = options.delimiter_letter or DELIMITERS[format_of(path)]
    quoted = options.quoting == "minimal" or (options.quoting == "auto" and delimiter != "\t")
    first = next((line for line in lines if line.strip()), "")
    if marked := re.fullmatch(r"sep=(.)", first.strip("\r\n")):  # as Excel writes it
        delimiter = options.delimiter_letter or marked[1]
        first = next((line for line in lines if line.strip()), "")
    if not first:
        return
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    start = lines.read
    again = _Lines(_chain(first, lines))
    spaced = _is_spaced(first, delimiter)
    reader = csv.reader(again, delimiter=delimiter, quoting=quoting, strict=True, skipinitialspace=spaced)
    header = tuple(options.column_names)
    if not header:
        try:
            header = tuple(cell.strip() for cell in next(reader))
        except csv.Error as error:
            raise ValueError(f"{path}:{start}: the header has {_broken(error)}") from error
        _check_header(path, first, header, columns, delimiter, options)
    _require(path, header, columns)
    yield from _rows(path, reader, again, start - 1, header, delimiter, quoted)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _is_spaced(header: str, delimiter: str) -> bool:
    """Whether a space stands behind the delimiters of the header; then it does so in the rows."""
    cells = header.rstrip("\r\n").split(delimiter)[1:]
    return delimiter != " " and bool(cells) and all(cell.startswith(" ") for cell in cells)


def _rows(
    path: Path,
    reader: Iterator[list[str]],
    lines: _Lines,
    before: int,
    header: Sequence[str],
    delimiter: str,
    quoted: bool,
) -> Iterator[RawRow]:
    while True:
        line = before + lines.read + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(path, line, _broken(error))
            continue
        if len(cells) == len(header):
            if any(cells):  # a row of empty cells alone is what is left of a row that was deleted
                yield RawRow(path, line, dict(zip(header, cells, strict=True)))
        elif cells and (len(cells) > 1 or cells[0].strip()):
            yield RawRow(path, line, _uneven(len(cells), len(header), delimiter, quoted))


def _broken(error: csv.Error) -> str:
    return (
        f"broken quoting: {error}; close every quote and double those inside, "
        "or give --quoting none where quotes are letters"
    )


def _uneven(cells: int, header: int, delimiter: str, quoted: bool) -> str:
    fix = f"quote cells with {delimiter!r} in them" if quoted else "give --quoting minimal where cells are quoted"
    return f"has {cells} cells, the header {header}; {fix}"


def _check_header(
    path: Path, line: str, header: Sequence[str], columns: Sequence[str], delimiter: str, options: ReadOptions
) -> None:
    """Refuse, with a ValueError, a header without the columns that are asked for, and say why it may lack them."""
    missing = [name for name in columns if name not in header]
    if not missing:
        return
    for other, name in NAMES.items():
        cells = [cell.strip().strip('"') for cell in line.strip("\r\n").split(other)]
        if other != delimiter and len(cells) > len(header) and (len(header) == 1 or set(columns) <= set(cells)):
            asked = f"its header is {shown(line.strip())}: give --delimiter {name}"
            raise ValueError(
                f"{path}: cells are divided by {name}, not by {NAMES.get(delimiter, delimiter)!s}; {asked}"
            )
    raise ValueError(
        f"{path}: no column {missing[0]!r} in the header; its cells are {shown(', '.join(header))}. If this is a row "
        f"and the file has no header, give --column-names with {len(header)} names; otherwise name the columns"
    )


def _require(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in header:
            raise ValueError(f"{path}: no column {name!r}; --column-names are {', '.join(header)}")
        if header.count(name) > 1:
            raise ValueError(f"{path}: the header has the column {name!r} twice; give each column its own name")
