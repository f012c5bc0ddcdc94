"""Draw the rows of a registered task, or write them as a pair set.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..pair_folder import SPLIT_NAMES, write_pair_folder
from ..pairs import PairData, PairSet
from .task import TASKS

SPLIT_SEEDS = {"train": 1, "validation": 2, "test": 3}


def make_task(name: str, train_rows: int, test_rows: int = 2000, seed: int = 0) -> PairData:
    """Draw the rows of a task.

    Args:
        name: a key of `TASKS`.
        train_rows: rows of the training split.
        test_rows: rows of the validation split, and of the test split.
        seed: of the fixed parts (rotation, permutations, held-out grids) and of the rows.

    Raises:
        ValueError: no such task, or its sampler does not give the rows that it was asked for.
    """
    TASKS.require(name)
    train = _draw(name, "train", train_rows, seed)
    validation, test = (_draw(name, split, test_rows, seed) for split in ("validation", "test"))
    for split, part in (("validation", validation), ("test", test)):
        for side in ("inputs", "targets"):
            width, wanted = getattr(part, side).shape[1], getattr(train, side).shape[1]
            if width != wanted:
                raise ValueError(
                    f"task {name!r}: its sampler gives {side} of width {wanted} for train and {width} for {split}; "
                    "give every split the same width"
                )
    return PairData(name, train, validation, test, task=name)


def build_task(name: str, folder: Path, train_rows: int, test_rows: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Write a task as a pair set; its card is part of the manifest.

    Args:
        name: a key of `TASKS`.
        folder: a new folder.
        train_rows: as in `make_task`, and so are the others.
        test_rows: see there.
        seed: see there.

    Returns:
        the manifest.

    Raises:
        ValueError: as `make_task`, or the folder holds something.
    """
    data = make_task(name, train_rows, test_rows, seed)
    parts = {split: getattr(data, split) for split in SPLIT_NAMES}

    def blocks() -> Iterator[tuple[str, Tensor, Tensor]]:
        for split, part in parts.items():
            yield split, part.inputs, part.targets

    card = {
        "name": name,
        "task": name,
        "what": TASKS[name].what,
        "metric": TASKS[name].metric_name,
        "licence": TASKS[name].licence,
        "made_by": f"energy-flow data build {name} --rows {train_rows} --held-out-rows {test_rows} --seed {seed}",
        "pairs_per_split": {split: len(part) for split, part in parts.items()},
    }
    return write_pair_folder(folder, sum(map(len, parts.values())), blocks(), card)


def _draw(name: str, split: str, rows: int, seed: int) -> PairSet:
    """The rows of one split, (N, E) and (N, T), checked."""
    task = TASKS[name]
    fixed = torch.Generator().manual_seed(seed)
    random = torch.Generator().manual_seed(1000 * seed + SPLIT_SEEDS[split])
    drawn = task.sample(rows, split, fixed, random)
    if not isinstance(drawn, tuple) or len(drawn) != 2:
        raise ValueError(f"task {name!r}: its sampler gives a {type(drawn).__name__}; give a pair (inputs, targets)")
    try:
        pairs = PairSet(*drawn)
    except ValueError as error:
        raise ValueError(f"task {name!r}: what its sampler gives for {split}: {error}") from error
    if len(pairs) > rows or (len(pairs) < rows and not task.finite):
        raise ValueError(
            f"task {name!r}: its sampler was asked for {rows} rows for {split} and gives {len(pairs)}; give as many "
            "as asked (fewer are right where the task says finite=True)"
        )
    return pairs
