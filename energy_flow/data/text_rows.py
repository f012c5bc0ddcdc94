"""Rows of texts or vectors from JSONL, CSV, TSV, Parquet or `datasets`, one at a time, bad ones by file and line."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..utils.files import sha256_of

Cell = str | list[float]
RawRow = tuple[int, dict[str, Any] | str]  # line, and the row's cells or what is wrong with it


class PairRow(NamedTuple):
    """One pair: texts to embed, or vectors that the user has already."""

    line: int  # from 1; of the file (JSONL, CSV, TSV) or of the table (Parquet)
    row_id: str
    given: Cell
    wanted: Cell


class BadRowError(ValueError):
    """A row that cannot be used; the message is file, line, rule, value and fix."""


@dataclass
class PairRows:
    """The pairs of a file, in its order.

    Args:
        source: a `.jsonl`, `.csv`, `.tsv` or `.parquet` file; a folder that `datasets` wrote (`save_to_disk`); or the
            name of a set that `datasets` can load, whose split `train` is read.
        input_column: the column with the inputs.
        target_column: the column with the targets.
        id_column: a column with ids, unique in the file; by default the line is the id.
        skip_bad: leave bad rows out and list them in `skipped`, instead of stopping at the first.

    Raises:
        BadRowError: while iterating, at a bad row, unless they are skipped.
        ValueError: no such file, or another suffix.
    """

    source: Path
    input_column: str
    target_column: str
    id_column: str | None = None
    skip_bad: bool = False
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[PairRow]:
        """Yield the pairs; what is bad is raised or counted."""
        read = self._reader()
        self.skipped.clear()
        seen: set[str] = set()
        widths: dict[str, int] = {}
        for line, raw in read(self.source):
            try:
                row = self._checked(line, raw, seen, widths)
            except BadRowError as error:
                if not self.skip_bad:
                    raise
                self.skipped.append(str(error))
                continue
            if self.id_column is not None:  # lines differ anyway, and a million of them would only fill the memory
                seen.add(row.row_id)
            yield row

    def fingerprint(self) -> str:
        """What tells this source from another: the checksum of the file, or the fingerprint that `datasets` gives."""
        return sha256_of(self.source) if self._reader() is not _read_dataset else open_dataset(self.source)._fingerprint

    def _reader(self) -> Callable[[Path], Iterator[RawRow]]:
        if self.source.is_dir() or (not self.source.suffix and not self.source.is_file()):
            return _read_dataset
        if not self.source.is_file():
            raise ValueError(f"{self.source}: no such file; give a {', '.join(READERS)} file")
        if self.source.suffix not in READERS:
            raise ValueError(f"{self.source}: the suffix is {self.source.suffix!r}; give a {', '.join(READERS)} file")
        return READERS[self.source.suffix]

    def _checked(self, line: int, raw: dict[str, Any] | str, seen: set[str], widths: dict[str, int]) -> PairRow:
        if isinstance(raw, str):
            raise self._bad(line, raw)
        cells = {name: self._cell(line, raw, name) for name in (self.input_column, self.target_column)}
        for name, cell in cells.items():
            if isinstance(cell, list) and widths.setdefault(name, len(cell)) != len(cell):
                raise self._bad(line, f"{name} has a vector of width {len(cell)}, those before have {widths[name]}")
        row_id = str(line) if self.id_column is None else str(self._cell(line, raw, self.id_column))
        if row_id in seen:
            raise self._bad(line, f"the id {row_id!r} stood in an earlier line; make ids unique")
        return PairRow(line, row_id, cells[self.input_column], cells[self.target_column])

    def _cell(self, line: int, raw: dict[str, Any], name: str) -> Cell:
        if name not in raw or raw[name] is None:
            raise self._bad(line, f"no column {name!r}; the columns are {', '.join(map(str, raw))}")
        value = raw[name]
        if isinstance(value, (int, float)) and name == self.id_column:
            return str(value)
        if isinstance(value, list):
            if not value or not all(isinstance(number, (int, float)) and math.isfinite(number) for number in value):
                raise self._bad(line, f"{name} is a list, but not of finite numbers; give a text or a vector")
            return [float(number) for number in value]
        if not isinstance(value, str):
            raise self._bad(line, f"{name} is {value!r}; give a text or a vector")
        if any("\udc80" <= letter <= "\udcff" for letter in value):
            raise self._bad(line, f"{name} is not UTF-8; convert the file")
        if not value.strip():
            raise self._bad(line, f"{name} is empty; give a text")
        return value

    def _bad(self, line: int, what: str) -> BadRowError:
        return BadRowError(f"{self.source}:{line}: {what}")


class Candidate(NamedTuple):
    """A text that outputs may be decoded to, and the groups of synonyms that it belongs to, where they are known."""

    text: str
    groups: list[str] | None


def read_candidates(path: Path) -> Iterator[Candidate]:
    """Candidates from a `.txt` file, one a line, or a `.jsonl` file of objects with `text` and perhaps `groups`.

    Raises:
        BadRowError: an empty text, one that came before, groups in some lines alone, or not JSON.
        ValueError: no such file, or another suffix.
    """
    if not path.is_file() or path.suffix not in (".txt", ".jsonl"):
        raise ValueError(f"{path}: no such .txt or .jsonl file; give candidates, one a line")
    lines = _read_jsonl(path) if path.suffix == ".jsonl" else _read_lines(path)
    seen: set[str] = set()
    grouped: set[bool] = set()
    for number, raw in lines:
        if isinstance(raw, str):
            raise BadRowError(f"{path}:{number}: {raw}")
        text, groups = raw.get("text"), raw.get("groups")
        grouped.add(groups is None)
        if not isinstance(text, str) or not text.strip():
            raise BadRowError(f"{path}:{number}: text is {text!r}; give a text")
        if text in seen:
            raise BadRowError(f"{path}:{number}: the text {text!r} stood in an earlier line; give it once")
        if len(grouped) > 1 or not (groups is None or _are_texts(groups)):
            raise BadRowError(f"{path}:{number}: groups is {groups!r}; give a list of texts in every line, or in none")
        seen.add(text)
        yield Candidate(text, groups)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _read_lines(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, {"text": line.strip()}


def _read_jsonl(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _parse_object(line)


def _parse_object(line: str) -> dict[str, Any] | str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at column {error.colno}; one object a line"
    return value if isinstance(value, dict) else f"holds a {type(value).__name__}; one object a line"


def _read_delimited(delimiter: str) -> Callable[[Path], Iterator[RawRow]]:
    def read(path: Path) -> Iterator[RawRow]:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            columns = next(reader, [])
            start = reader.line_num + 1
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield start, f"broken quoting: {error}; close every quote and double those inside"
                else:
                    if len(cells) == len(columns):
                        yield start, dict(zip(columns, cells, strict=True))
                    elif cells:
                        yield (
                            start,
                            f"has {len(cells)} cells, the header {len(columns)}; quote cells with {delimiter!r}",
                        )
                start = reader.line_num + 1

    return read


def _read_parquet(path: Path) -> Iterator[RawRow]:
    if importlib.util.find_spec("pyarrow") is None:
        raise ImportError("Parquet files need pyarrow: pip install 'energy-flow[text]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error}); give another copy") from error
    number = 0
    for batch in table.iter_batches(batch_size=1024):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def open_dataset(source: Path) -> Any:
    """The table of a `datasets` folder or name; the split `train` where there are several.

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
        loaded = datasets.load_from_disk(str(source)) if source.is_dir() else datasets.load_dataset(source.as_posix())
    except Exception as error:  # the library raises what its many backends raise
        raise ValueError(
            f"{source}: datasets could not load it ({type(error).__name__}: {error}); give a folder that save_to_disk "
            "wrote, a name on the hub (needs the network), or a file"
        ) from error
    if isinstance(loaded, dict):
        if "train" not in loaded:
            raise ValueError(
                f"{source}: has the splits {', '.join(loaded)}, but no train; save the split that you mean"
            )
        loaded = loaded["train"]
    return loaded


def _read_dataset(source: Path) -> Iterator[RawRow]:
    yield from enumerate(open_dataset(source), start=1)


READERS: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_delimited(","),
    ".tsv": _read_delimited("\t"),
    ".parquet": _read_parquet,
}
