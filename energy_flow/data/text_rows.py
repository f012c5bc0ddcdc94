"""Pairs of texts or vectors from the files of a user, one at a time, bad ones by file and line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from .candidate_rows import Candidate, read_candidates
from .files import (
    BadRowError,
    Cell,
    Column,
    RawRow,
    ReadOptions,
    fingerprint_of,
    left_unread,
    read_table,
    shown,
    text_of,
    value_in,
)

__all__ = ["BadRowError", "Candidate", "PairRow", "PairRows", "read_candidates"]
REASONS = 3  # that are named where every row is bad
SAMPLE = 100  # rows by which a column is decided
QUOTED = re.compile(r'"(?=.*"".*")(?:[^"]|"")*+"', re.S)  # a cell as a program quotes it, quotes inside doubled


class PairRow(NamedTuple):
    """One pair: texts to embed, or vectors that the user has already, perhaps with the texts that they stand for."""

    line: int  # from 1; of the file, or of the table where a file has no lines
    row_id: str
    given: Cell
    wanted: Cell
    given_text: str | None = None  # beside a vector
    wanted_text: str | None = None
    group: str | None = None  # rows of one group stay together in one split
    split: int | None = None  # where the source says so: 0 train, 1 validation, 2 test
    path: Path = Path()  # of the file that the row stands in


@dataclass
class PairRows:
    """The pairs of a source, in its order.

    Args:
        source: what `read_table` reads.
        input_column: the column with the inputs.
        target_column: the column with the targets.
        id_column: a column with ids, unique in the source; by default the line is the id.
        skip_bad: leave bad rows out and list them in `skipped`, instead of stopping at the first.
        input_text_column: the texts beside inputs that are vectors.
        target_text_column: the texts beside targets that are vectors; they are the bank.
        group_column: a column with groups; the rows of a group stay in one split.
        options: how files are read.

    Attributes:
        skipped: what was bad, of the newest pass.
        multi_line: delimited rows with a cell that goes over several lines.
        in_quotes: rows with a cell in quotes that were taken as letters.

    Raises:
        BadRowError: while iterating, at a bad row, unless they are skipped; or in the end, where all were.
        ValueError: no such file, another suffix, or a column that is not there.
    """

    source: Path
    input_column: str
    target_column: str
    id_column: str | None = None
    skip_bad: bool = False
    input_text_column: str | None = None
    target_text_column: str | None = None
    group_column: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    skipped: list[str] = field(default_factory=list)
    multi_line: int = 0
    in_quotes: int = 0

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        named = (self.input_column, self.target_column, self.id_column)
        more = (self.input_text_column, self.target_text_column, self.group_column)
        return list(dict.fromkeys(name for name in (*named, *more) if name is not None))

    def __iter__(self) -> Iterator[PairRow]:
        """Yield the pairs; what is bad is raised or counted."""
        self.skipped.clear()
        self.multi_line = self.in_quotes = 0
        lists = self.options.list_cells == "vectors"
        columns = {name: Column(name, lists) for name in (self.input_column, self.target_column)}
        seen: set[str] = set()
        used = 0
        for raw in _after_a_look(read_table(self.source, self.columns, self.options), columns):
            try:
                row = self._checked(raw, columns, seen)
            except BadRowError as error:
                if not self.skip_bad:
                    raise
                self.skipped.append(str(error))
                continue
            used += 1
            if self.id_column is not None:  # lines differ anyway, and a million of them would only fill the memory
                seen.add(row.row_id)
            texts = [cell for cell in (row.given, row.wanted) if isinstance(cell, str)]
            self.multi_line += any("\n" in text.strip() for text in texts)
            self.in_quotes += any(QUOTED.fullmatch(text) is not None for text in texts)
            yield row
        if self.skipped and not used:
            reasons = "; ".join(self.skipped[:REASONS])
            raise BadRowError(f"{self.source}: all {len(self.skipped)} rows are bad, the first ones: {reasons}")

    def fingerprint(self) -> str:
        """What tells this source from another: the checksum of the files, or what `datasets` says."""
        return fingerprint_of(self.source, self.options)

    def notes(self) -> list[str]:
        """What of the newest pass may be otherwise than was meant, in words."""
        found = left_unread(self.source, self.options)
        if self.multi_line:
            found.append(f"{self.multi_line} rows hold line ends; where quotes are letters, give --quoting none")
        if self.in_quotes:
            found.append(f"{self.in_quotes} rows hold a text in quotes; where these are not meant, --quoting minimal")
        return found

    def _checked(self, raw: RawRow, columns: dict[str, Column], seen: set[str]) -> PairRow:
        try:
            if isinstance(raw.cells, str):
                raise ValueError(raw.cells)
            given, wanted = (
                columns[name].cell(value_in(raw.cells, name)) for name in (self.input_column, self.target_column)
            )
            row_id = self._id_of(raw)
            if row_id in seen:
                raise ValueError(f"the id {shown(row_id)} stood in an earlier line; make ids unique")
            texts = (
                self._text_beside(raw.cells, self.input_text_column, self.input_column, given),
                self._text_beside(raw.cells, self.target_text_column, self.target_column, wanted),
            )
            group = None if self.group_column is None else _word(raw.cells, self.group_column)
        except ValueError as error:
            raise BadRowError(f"{raw.path}:{raw.line}: {error}") from None
        return PairRow(raw.line, row_id, given, wanted, *texts, group, raw.split, raw.path)

    def _id_of(self, raw: RawRow) -> str:
        if self.id_column is None:
            within = raw.path.relative_to(self.source).as_posix() if raw.path != self.source else ""
            return f"{within}:{raw.line}" if within else str(raw.line)
        assert not isinstance(raw.cells, str)
        return _word(raw.cells, self.id_column)

    def _text_beside(self, cells: dict[str, Any], name: str | None, beside: str, cell: Cell) -> str | None:
        if name is None:
            return None
        if isinstance(cell, str):
            raise ValueError(f"{beside} holds texts already, so {name} cannot be its text; leave one of them out")
        return text_of(value_in(cells, name), name)


def _after_a_look(rows: Iterable[RawRow], columns: dict[str, Column]) -> Iterator[RawRow]:
    """The same rows, once the columns are decided by the first ones."""
    rows = iter(rows)
    first = list(islice(rows, SAMPLE))
    for name, column in columns.items():
        column.decide(raw.cells[name] for raw in first if isinstance(raw.cells, dict) and name in raw.cells)
    return chain(first, rows)


def _word(cells: dict[str, Any], name: str) -> str:
    """An id or a group: a text or a number."""
    value = value_in(cells, name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError(f"{name} has no value (null); give a text or a number")
    return text_of(str(value) if isinstance(value, (int, float)) else value, name)
