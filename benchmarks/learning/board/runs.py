"""Finished runs on disk: one JSON file each, whole or not there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from .plan import Job, Run


class Runs:
    """The finished runs of one board. What lies there of other recipes is left alone.

    Args:
        folder: of the board.
        recipe: the fingerprint of what the runs are of: rows, steps and configuration.

    Raises:
        ValueError: the folder has runs, and nobody asked to go on with them.
    """

    def __init__(self, folder: Path, recipe: str, resume: bool) -> None:
        self.folder, self.recipe = folder, recipe
        self.finished: dict[Job, Run] = {}
        for path in sorted(folder.glob(f"*_{recipe}.json")):
            run = json.loads(path.read_text(encoding="utf-8"))
            self.finished[job_of(run)] = run
        if self.finished and not resume:
            raise ValueError(f"{folder} has {len(self.finished)} runs of this board: give --resume, or other --results")

    def add(self, job: Job, run: dict[str, Any]) -> Path:
        """Keep a run that has finished."""
        run = {"recipe": self.recipe, **vars(job), **run}
        part = "whole" if job.whole else "tuning"
        name = f"{slug(job.system)}_{part}_rate{job.rate:g}_seed{job.seed}_{self.recipe}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        path, new = self.folder / name, self.folder / f"{name}.new"
        new.write_text(lines_of(run), encoding="utf-8", newline="\n")
        os.replace(new, path)
        self.finished[job] = run
        return path


def job_of(run: Run) -> Job:
    """What a run was of."""
    return Job(run["system"], run["seed"], run["rate"], run["whole"])


def lines_of(run: Run) -> str:
    """JSON with a line for each entry: rows are many, and one line each would hide the rest."""
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in run.items()) + "\n}\n"


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
