"""How files that people write are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read; what is not said here follows from the file's suffix."""

    delimiter: str | None = None
    """what stands between the cells of a line: by default a comma in .csv, a tab in .tsv; write tab for a tab"""
    quoting: Literal["auto", "minimal", "none"] = "auto"
    """minimal: a cell in quotes may hold delimiters and line ends; none: quotes are letters like others; by default
    minimal in .csv and none in .tsv"""
    encoding: str = "utf-8"
    """of text files, such as utf-16 or cp1252"""
    column_names: tuple[str, ...] = ()
    """names of the columns of a delimited file that has no header"""
    list_cells: Literal["vectors", "texts"] = "vectors"
    """what a text such as [0.1, 0.2] is where a file can hold texts alone, as CSV does"""
    subset: str | None = None
    """of a set that datasets loads by its name"""
    revision: str | None = None
    """of such a set: a branch, tag or commit"""
    streaming: bool = False
    """read such a set from the network row by row, without a copy on this disk"""

    def __post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter_letter) != 1:
            raise ValueError(f"delimiter = {self.delimiter!r}; give one letter, or tab")
        try:
            "".encode(self.encoding)  # a codec that makes no text, such as rot13, is unknown to it too
        except (LookupError, ValueError):
            raise ValueError(
                f"encoding = {self.encoding!r} is unknown; give one such as utf-8, utf-16, cp1252"
            ) from None
        repeated = {name for name in self.column_names if self.column_names.count(name) > 1}
        if repeated:
            raise ValueError(f"column_names: {', '.join(sorted(repeated))} twice; give each column its own name")

    @property
    def delimiter_letter(self) -> str:
        """The delimiter that is asked for; empty where none is."""
        return {"tab": "\t", "\\t": "\t"}.get(self.delimiter or "", self.delimiter or "")

    def said(self) -> dict[str, Any]:
        """The options that are asked for, and that may change what is read; plain values for JSON."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        asked.pop("streaming", None)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
