"""Pairs of a file as plain values, and files as spreadsheets write them; shared by the tests of reading."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from energy_flow.data.files import ReadOptions
from energy_flow.data.text_rows import PairRows

TEXTS = [(f"thing {row}, so to say", f"word{row}") for row in range(20)]


def pairs_of(path: Path, skip_bad: bool = False, **options) -> list[tuple]:
    """The pairs of a file: texts as they are, vectors as tuples."""
    rows = PairRows(path, "input", "target", skip_bad=skip_bad, options=ReadOptions(**options))
    return [
        tuple(cell if isinstance(cell, str) else tuple(cell.tolist()) for cell in (row.given, row.wanted))
        for row in rows
    ]


def table_of(rows=TEXTS, delimiter: str = ",", header: bool = True, end: str = "\r\n", **more) -> str:
    """The rows as CSV."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, **more)
    writer.writerows(([("input", "target")] if header else []) + list(rows))
    return file.getvalue()
