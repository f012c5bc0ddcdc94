"""CSV and TSV, as spreadsheets, pandas and databases write them."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .opening import format_of, lines_of
from .options import ReadOptions
from .rows import RawRow
from .texts import cut, shown

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
NAMES = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
LONGEST_CELL = 2**31 - 1  # letters; the largest limit that every system takes


class _Lines:
    """Lines, counted, of which the newest can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again, self._kept, self.read = lines, deque[str](), list[str](), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._kept.append(line)
        self.read += 1
        return line

    def begin_row(self) -> int:
        """The number of the line that comes next, which begins a row."""
        self._kept.clear()
        return self.read + 1

    @property
    def quotes(self) -> int:
        """How many quotes this row has."""
        return sum(line.count('"') for line in self._kept)

    def give_back(self, but: int) -> None:
        """Give the lines of this row back, but for so many at its beginning."""
        back = self._kept[but:]
        self._again.extendleft(reversed(back))
        self.read -= len(back)


@dataclass(frozen=True)
class _Dialect:
    """How the lines of a file become cells."""

    delimiter: str
    quoted: bool
    spaced: bool

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The cells of each row."""
        if not self.quoted:
            return (self._split(line) for line in lines)
        return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self.spaced)

    def _split(self, line: str) -> list[str]:
        cells = line.rstrip("\r\n").split(self.delimiter)
        return [cell.lstrip(" ") for cell in cells] if self.spaced else cells


def read_delimited(
    path: Path, columns: Sequence[str], options: ReadOptions, optional: Sequence[str] = ()
) -> Iterator[RawRow]:
    """The rows of a delimited file.

    Args:
        path: the file.
        columns: that are asked for; all of them must be there.
        options: delimiter, quoting, encoding, and names where the file has no header.

    Raises:
        ValueError: a column is missing or there twice; the message says what the header may lack.
    """
    opened = _opened(path, columns, options)
    if opened is not None:
        lines, dialect, header = opened
        _require_once(path, header, columns)
        yield from _rows(path, lines, dialect, header)


def require_names_once(path: Path, options: ReadOptions) -> None:
    """Refuse, with a ValueError, a delimited file with two columns of one name, of which one would be lost."""
    opened = _opened(path, (), options)
    if opened is not None:
        _require_once(path, opened[2], opened[2])


def _opened(
    path: Path, columns: Sequence[str], options: ReadOptions
) -> tuple[_Lines, _Dialect, tuple[str, ...]] | None:
    """The lines behind the header, how they are read, and the names of the columns; None of an empty file."""
    if csv.field_size_limit() < LONGEST_CELL:  # of the whole process, so it is never made smaller here
        csv.field_size_limit(LONGEST_CELL)
    lines = _Lines(lines_of(path, options.encoding))
    delimiter = options.delimiter_letter or DELIMITERS.get(format_of(path), "\t")
    first = _first_line(lines)
    if marked := re.fullmatch(r"sep=(.)", first.strip("\r\n")):  # as Excel writes it
        delimiter = options.delimiter_letter or marked[1]
        first = _first_line(lines)
    if not first:
        return None
    lines.give_back(0)
    quoted = options.quoting == "minimal" or (options.quoting == "auto" and delimiter != "\t")
    dialect = _Dialect(delimiter, quoted, not options.column_names and _is_spaced(first, delimiter))
    return lines, dialect, _header(path, lines, first, dialect, columns, options)


def _first_line(lines: _Lines) -> str:
    """The next line that is not blank."""
    while True:
        lines.begin_row()
        line = next(lines, "")
        if not line or line.strip():
            return line


def _is_spaced(header: str, delimiter: str) -> bool:
    """Whether a space stands behind the delimiters of the header; then it does so in the rows."""
    cells = header.rstrip("\r\n").split(delimiter)[1:]
    return delimiter != " " and bool(cells) and all(cell.startswith(" ") for cell in cells)


def _header(
    path: Path, lines: _Lines, first: str, dialect: _Dialect, columns: Sequence[str], options: ReadOptions
) -> tuple[str, ...]:
    """The names of the columns, of the file or as they were given.

    Raises:
        ValueError: broken quoting, or columns that are asked for are not there.
    """
    line = lines.begin_row()
    try:
        names = tuple(cell.strip() for cell in next(dialect.reader(lines)))
    except csv.Error as error:
        if not options.column_names:
            raise ValueError(f"{path}:{line}: in the header {_broken(error)}") from error
        names = ()
    if not options.column_names:
        _check_header(path, first, names, columns, dialect)
        return names
    if names == options.column_names:
        raise ValueError(f"{path}:{line}: is a header with the names of --column-names; leave --column-names out")
    missing = [name for name in columns if name not in options.column_names]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]!r}; --column-names are {', '.join(options.column_names)}")
    lines.give_back(0)
    return options.column_names


def _rows(path: Path, lines: _Lines, dialect: _Dialect, header: Sequence[str]) -> Iterator[RawRow]:
    """The rows behind the header. Behind a broken row reading goes on at its second line, so that none is lost."""
    reader = dialect.reader(lines)
    unsure = 0  # the last line that a broken row reached
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unsure = max(unsure, lines.read)
            lines.give_back(1)
            reader = dialect.reader(lines)
            yield RawRow(path, line, _broken(error))
            continue
        if line <= unsure and lines.quotes % 2:
            yield RawRow(path, line, "may be the end of a row before it with broken quoting; close every quote")
        elif len(cells) == len(header):
            if any(cells):  # a row of empty cells alone is what is left of a row that was deleted
                yield RawRow(path, line, dict(zip(header, cells, strict=True)))
        elif cells and (len(cells) > 1 or cells[0].strip()):
            yield RawRow(path, line, _uneven(cells, len(header), dialect))


def _broken(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a cell without quotes holds a carriage return; put it into quotes"
    return (
        f"broken quoting: {error}; close every quote and double those inside, "
        "or give --quoting none where quotes are letters"
    )


def _uneven(cells: Sequence[str], header: int, dialect: _Dialect) -> str:
    found = f"has {len(cells)} cells, the header {header}"
    for other, name in NAMES.items():
        if len(cells) == 1 and other != dialect.delimiter and cells[0].count(other) + 1 == header:
            return f"{found}: cells are divided by {name}; give --delimiter {name}"
    if len(cells) < header:
        return f"{found}; write every cell, empty ones too"
    if dialect.quoted:
        return f"{found}; quote cells with {dialect.delimiter!r} in them"
    return f"{found}; give --quoting minimal where cells are quoted"


def _check_header(path: Path, line: str, header: Sequence[str], columns: Sequence[str], dialect: _Dialect) -> None:
    """Refuse, with a ValueError, a header without the columns that are asked for, and say why it may lack them."""
    missing = [name for name in columns if name not in header]
    if not missing:
        return
    for other, name in NAMES.items():
        cells = {cell.strip().strip('"') for cell in line.strip("\r\n").split(other)}
        if other != dialect.delimiter and len(cells) > len(header) and (len(header) == 1 or set(columns) <= cells):
            own = NAMES.get(dialect.delimiter, repr(dialect.delimiter))
            raise ValueError(
                f"{path}: cells are divided by {name}, not by {own}; its header is {shown(line.strip())}: "
                f"give --delimiter {name}"
            )
    if set(columns) <= {name.strip('"') for name in header}:
        raise ValueError(f"{path}: the names of its columns are in quotes; give --quoting minimal")
    raise ValueError(
        f"{path}: no column {missing[0]!r} in the header; its cells are {cut(', '.join(map(repr, header)))}. If this "
        f"is a row and the file has no header, give --column-names with {len(header)} names; else name the columns"
    )


def _require_once(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if header.count(name) > 1:
            raise ValueError(f"{path}: the header has the column {name!r} twice; give each column its own name")
