"""What every reader yields."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class BadRowError(ValueError):
    """A row that cannot be used; the message is file, line, rule, value and fix."""


class RawRow(NamedTuple):
    """A row as it stands in its file."""

    path: Path  # the file; of a set of `datasets`, its folder or name
    line: int  # from 1; of the file, or of the table where a file has no lines
    cells: dict[str, Any] | str  # or what is wrong with the row
    split: int | None = None  # where the file says so: 0 train, 1 validation, 2 test


SPLIT_WORDS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


def split_named(name: str) -> int | None:
    """The split that a name says; None where it says none."""
    return SPLIT_WORDS.get(name.lower())
