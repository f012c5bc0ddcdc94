"""The texts that outputs are decoded to, from a list of lines or from any table."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import BadRowError, Column, ReadOptions, read_table, shown, text_of, value_in, vector_of


class Candidate(NamedTuple):
    """A text that outputs may be decoded to, the groups of synonyms it belongs to, and its vector, where known."""

    text: str
    groups: list[str] | None
    vector: np.ndarray | None = None


def read_candidates(path: Path, options: ReadOptions | None = None) -> Iterator[Candidate]:
    """Candidates: a text a line, or rows with `text` and perhaps `groups` and `vector`.

    Where a file holds texts alone, as CSV does, groups are a list of JSON or of Python, or names with `;` between them.

    Raises:
        BadRowError: an empty text, one that came before, or groups or vectors in some rows alone.
        ValueError: no such file, or another suffix.
    """
    seen: set[str] = set()
    kinds: set[tuple[bool, bool]] = set()
    vectors = Column("vector", only="vector")
    for raw in read_table(path, ["text"], options, lists_too=True, optional=["groups", "vector"]):
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


def _candidate(cells: dict[str, Any], vectors: Column) -> Candidate:
    text, vector = text_of(value_in(cells, "text"), "text"), cells.get("vector")
    groups = None if cells.get("groups") is None else _groups(cells["groups"])
    return Candidate(text, groups, None if vector is None else vector_of(vectors.cell(vector), "vector"))


def _groups(value: Any) -> list[str]:
    found = _listed(value) if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"groups is {shown(value)}; give a list of texts in every line, or in none")
    return [text_of(one, "a name in groups") for one in found]


def _listed(text: str) -> Any:
    """The names in a text."""
    if not text.strip().startswith("["):
        return [name.strip() for name in text.split(";") if name.strip()]
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
