"""JSON: one object a line, or a list of objects; and plain lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .opening import lines_of, text_of_file
from .options import ReadOptions
from .rows import RawRow

ORIENT = "give a list of objects, one a row (pandas: to_json(orient='records')), or one object a line in .jsonl"


def read_json_lines(path: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """One object a line."""
    for number, line in enumerate(lines_of(path, options.encoding), start=1):
        if line.strip():
            yield RawRow(path, number, _object_of(line))


def read_json(path: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """A list of objects, an object that holds one, or objects a line; rows are numbered as in the list.

    Raises:
        ValueError: not JSON, or none of these.
    """
    text = text_of_file(path, options.encoding)
    if not text.strip():
        return
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if isinstance(_object_of(text.lstrip().splitlines()[0]), dict):  # as pandas writes with lines=True
            yield from read_json_lines(path, columns, options)
            return
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}; {ORIENT}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON that can be read ({error}); {ORIENT}") from error
    for number, row in enumerate(_rows_in(path, found), start=1):
        yield RawRow(path, number, _checked(row))


def read_lines(path: Path, columns: Sequence[str], options: ReadOptions) -> Iterator[RawRow]:
    """One text a line, under the name `text`."""
    for number, line in enumerate(lines_of(path, options.encoding), start=1):
        if line.strip():
            yield RawRow(path, number, {"text": line.strip()})


def _rows_in(path: Path, found: Any) -> list[Any]:
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        if len(lists) == 1:
            return lists[0]
        if found and all(not isinstance(value, (dict, list)) for value in found.values()):
            return [found]
    if not isinstance(found, list):
        raise ValueError(f"{path}: no list with entries; {ORIENT}")
    return found


def _object_of(line: str) -> dict[str, Any] | str:
    try:
        return _checked(json.loads(line))
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at column {error.colno}; one object a line"
    except (ValueError, RecursionError) as error:
        return f"not JSON that can be read ({error}); one object a line"


def _checked(value: Any) -> dict[str, Any] | str:
    return value if isinstance(value, dict) else f"holds a {type(value).__name__}; one object a line"
