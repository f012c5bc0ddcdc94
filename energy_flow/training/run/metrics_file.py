"""The figures of a run in its folder, one JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...utils.files import replace_file
from ...utils.logging import logger
from .observers import Example, Figures

METRICS = "metrics.jsonl"


class MetricsFile:
    """Appends every record to `metrics.jsonl`, with its kind: `train` or `validation`.

    What the disk does not take is kept, and written when there is room again.

    Args:
        path: the file.
        step: steps that the run has taken; what an interrupted run wrote beyond them is taken back.
        looked_at: the step of its last look at the validation set, likewise.
    """

    def __init__(self, path: Path, step: int = 0, looked_at: int = 0) -> None:
        self._path, self._lines, self._complained = path, [], False
        if path.exists():
            kept = [
                line
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
                if _counts(line, step, looked_at)
            ]
            text = "".join(f"{line}\n" for line in kept)
            replace_file(path, lambda new: new.write_text(text, encoding="utf-8", newline="\n"))
        self._end = path.stat().st_size if path.exists() else 0

    def start(self, total_steps: int) -> None:
        """Nothing to do."""

    def observe(self, records: Sequence[Figures]) -> None:
        """Write the steps."""
        self._write("train", records)

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Write the validation, and its examples as a list of texts."""
        decoded = [example._asdict() for example in examples]
        self._write("validation", [dict(record) | ({"examples": decoded} if decoded else {})])

    def close(self) -> None:
        """Write what is left."""
        self._write("", [])

    def _write(self, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
        self._lines += [json.dumps({"kind": kind} | _for_json(record)) + "\n" for record in records]
        if not self._lines:
            return
        try:
            with self._path.open("ab") as file:
                self._end = min(self._end, file.tell())  # less where somebody removed the file
                file.truncate(self._end)  # of what the disk took of the lines before it was full
                file.write("".join(self._lines).encode())
                file.flush()
                self._end = file.tell()
        except OSError as error:
            if not self._complained:
                logger.error("no metrics in %s (%s): they wait until there is room", self._path, error)
            self._complained = True
            return
        self._lines.clear()
        self._complained = False


def _for_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no number that is not finite: null stands for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()
    }


def _counts(line: str, step: int, looked_at: int) -> bool:
    """Whether a line of the metrics is whole, and of a step and a look that the run still has."""
    try:
        record = json.loads(line)
        return record["step"] <= (step if record["kind"] == "train" else looked_at)
    except (ValueError, KeyError, TypeError):
        return False
