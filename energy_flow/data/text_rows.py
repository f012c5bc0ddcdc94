"""Rows of texts or vectors from the files of a user, one at a time, bad ones by file and line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import BadRowError, Cell, Column, RawRow, ReadOptions, fingerprint_of, read_table, text_of, vector_of
from .files.cells import shown

REASONS = 3  # that are named where every row is bad


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

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        named = (self.input_column, self.target_column, self.id_column)
        more = (self.input_text_column, self.target_text_column, self.group_column)
        return list(dict.fromkeys(name for name in (*named, *more) if name is not None))

    def __iter__(self) -> Iterator[PairRow]:
        """Yield the pairs; what is bad is raised or counted."""
        self.skipped.clear()
        self.multi_line = 0
        lists = self.options.list_cells == "vectors"
        columns = {name: Column(name, lists) for name in (self.input_column, self.target_column)}
        seen: set[str] = set()
        used = 0
        for raw in read_table(self.source, self.columns, self.options):
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
            self.multi_line += any(isinstance(cell, str) and "\n" in cell.strip() for cell in (row.given, row.wanted))
            yield row
        if self.skipped and not used:
            reasons = "; ".join(self.skipped[:REASONS])
            raise BadRowError(f"{self.source}: all {len(self.skipped)} rows are bad, the first ones: {reasons}")

    def fingerprint(self) -> str:
        """What tells this source from another: the checksum of the files, or what `datasets` says."""
        return fingerprint_of(self.source, self.options)

    def _checked(self, raw: RawRow, columns: dict[str, Column], seen: set[str]) -> PairRow:
        try:
            if isinstance(raw.cells, str):
                raise ValueError(raw.cells)
            given, wanted = (
                columns[name].cell(_value(raw.cells, name)) for name in (self.input_column, self.target_column)
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
            return str(raw.line) if raw.path == self.source else f"{raw.path.name}:{raw.line}"
        assert not isinstance(raw.cells, str)
        return _word(raw.cells, self.id_column)

    def _text_beside(self, cells: dict[str, Any], name: str | None, beside: str, cell: Cell) -> str | None:
        if name is None:
            return None
        if isinstance(cell, str):
            raise ValueError(f"{beside} holds texts already, so {name} cannot be its text; leave one of them out")
        return text_of(_value(cells, name), name)


class Candidate(NamedTuple):
    """A text that outputs may be decoded to, the groups of synonyms it belongs to, and its vector, where known."""

    text: str
    groups: list[str] | None
    vector: np.ndarray | None = None


def read_candidates(path: Path, options: ReadOptions | None = None) -> Iterator[Candidate]:
    """Candidates: a text a line, or rows with `text` and perhaps `groups` and `vector`.

    Raises:
        BadRowError: an empty text, one that came before, or groups or vectors in some rows alone.
        ValueError: no such file, or another suffix.
    """
    seen: set[str] = set()
    kinds: set[tuple[bool, bool]] = set()
    vectors = Column("vector", only="vector")
    for raw in read_table(path, _columns_of_candidates(path, options), options, lists_too=True):
        try:
            if isinstance(raw.cells, str):
                raise ValueError(raw.cells)
            candidate = _candidate(raw.cells, vectors)
            if candidate.text in seen:
                raise ValueError(f"the text {shown(candidate.text)} stood in an earlier line; give it once")
            kinds.add((candidate.groups is None, candidate.vector is None))
            if len(kinds) > 1:
                vector = "missing" if candidate.vector is None else "there"
                raise ValueError(
                    f"groups is {shown(candidate.groups)} and vector is {vector}, otherwise than in the rows before; "
                    "give a list of texts and a vector in every line, or in none"
                )
        except ValueError as error:
            raise BadRowError(f"{raw.path}:{raw.line}: {error}") from None
        seen.add(candidate.text)
        yield candidate


def normal_form(text: str) -> str:
    """A text as it is compared: composed (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def _columns_of_candidates(path: Path, options: ReadOptions | None) -> list[str]:
    """The columns of a table of candidates; in Parquet those that are there."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return ["text"]
    try:
        import pyarrow.parquet as pq

        names = pq.read_schema(path).names
    except Exception:  # the reader says what is wrong
        return ["text"]
    return ["text", *(name for name in ("groups", "vector") if name in names)]


def _candidate(cells: dict[str, Any], vectors: Column) -> Candidate:
    text = text_of(_value(cells, "text"), "text")
    groups, vector = cells.get("groups"), cells.get("vector")
    groups = list(groups) if isinstance(groups, np.ndarray) else groups
    if groups is not None and not (isinstance(groups, list) and all(isinstance(one, str) for one in groups)):
        raise ValueError(f"groups is {shown(groups)}; give a list of texts in every line, or in none")
    return Candidate(text, groups, None if vector is None else vector_of(vectors.cell(vector), "vector"))


def _value(cells: dict[str, Any], name: str) -> Any:
    if name not in cells:
        raise ValueError(f"no column {name!r}; the columns are {shown(', '.join(map(str, cells)))[1:-1]}")
    return cells[name]


def _word(cells: dict[str, Any], name: str) -> str:
    """An id or a group: a text or a number."""
    value = _value(cells, name)
    if value is None:
        raise ValueError(f"{name} has no value (null); give a text or a number")
    return text_of(value if isinstance(value, str) or not isinstance(value, (int, float)) else str(value), name)
