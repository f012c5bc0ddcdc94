"""Write the rows of a registered task as a pair set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..pair_folder import SPLIT_NAMES, require_new, write_data_folder
from .drawing import make_task
from .task import TASKS, Sizes


def build_task(
    name: str,
    folder: Path,
    train_rows: int,
    test_rows: int = 2000,
    seed: int = 0,
    sizes: Sizes | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a task as a pair set, several sizes as a folder for each; its card is part of the manifest.

    Args:
        name: a key of `TASKS`.
        folder: a new folder.
        train_rows: as in `make_task`, and so are the others.
        test_rows: see there.
        seed: see there.
        sizes: see there.
        options: see there.

    Returns:
        the manifest.

    Raises:
        ValueError: as `make_task`, or the folder holds something or is a file.
    """
    task = TASKS[name]
    require_new(folder)
    data = make_task(name, train_rows, test_rows, seed, sizes, options)
    card = {
        "name": name,
        "task": name,
        "what": task.what,
        "metric": task.metric_name,
        "licence": task.licence,
        "made_by": _made_by(name, train_rows, test_rows, seed, sizes, options),
        "pairs_per_split": {split: len(getattr(data, split)) for split in SPLIT_NAMES},
    }
    if task.options:
        card["options"] = dict(task.options) | dict(options or {})
    return write_data_folder(folder, data, card)


def _made_by(
    name: str, train_rows: int, test_rows: int, seed: int, sizes: Sizes | None, options: Mapping[str, Any] | None
) -> str:
    """The command that gives the same set; what the command has no option for is a call."""
    if sizes is None and not options:
        return f"energy-flow data build {name} --rows {train_rows} --held-out-rows {test_rows} --seed {seed}"
    return f"build_task({name!r}, FOLDER, {train_rows}, {test_rows}, {seed}, {sizes!r}, {dict(options or {})!r})"
