"""Draw the rows of a registered task.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..pairs import PairData, Pairs, PairSet, Size, pairs_of, parts_of
from .task import TASKS, Sizes, Task, check_faces

SPLIT_SEEDS = {"train": 1, "validation": 2, "test": 3}


def make_task(
    name: str,
    train_rows: int,
    test_rows: int = 2000,
    seed: int = 0,
    sizes: Sizes | None = None,
    options: Mapping[str, Any] | None = None,
) -> PairData:
    """Draw the rows of a task.

    Args:
        name: a key of `TASKS`.
        train_rows: rows of the training split, of all sizes together.
        test_rows: rows of the validation split, and of the test split, likewise.
        seed: of the fixed parts (rotation, permutations, held-out grids) and of the rows. The rows of a size are the
            same whatever other sizes there are.
        sizes: the faces of each split, such as `TASKS[name].sizes`, which are those the task is meant for. A split of
            several has its rows in `SizedPairs`. By default every split has the task's `face` alone.
        options: of the task, by their names; what is not given is as the task has it.

    Raises:
        ValueError: no such task, size or option, fewer rows than sizes, or the task's sampler does not give the rows
            that it was asked for.
    """
    train = _draw(name, "train", train_rows, seed, sizes and sizes.train, options)
    validation = _draw(name, "validation", test_rows, seed, sizes and sizes.validation, options)
    test = _draw(name, "test", test_rows, seed, sizes and sizes.test, options)
    _check_widths(name, {"train": train, "validation": validation, "test": test})
    return PairData(name, train, validation, test, task=name, options=_all_options(name, options or {}))


def make_split(
    name: str,
    split: str,
    rows: int,
    seed: int = 0,
    faces: Sequence[Size] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Pairs:
    """Draw one split of a task alone, such as an extra one to be judged at.

    Args:
        name: a key of `TASKS`.
        split: train, validation, test, or one of the task's `extra_splits`.
        rows: of all sizes together.
        seed: as in `make_task`; what the splits share, such as held-out grids, follows from it.
        faces: of this split, as in `Sizes`.
        options: as in `make_task`.

    Raises:
        ValueError: as `make_task`, or no such split.
    """
    known = (*SPLIT_SEEDS, *TASKS[name].extra_splits)
    if split not in known:
        raise ValueError(f"split = {split!r}; the task {name!r} has {', '.join(known)}: give one of these")
    return _draw(name, split, rows, seed, None if faces is None else tuple(faces), options)


def _draw(
    name: str, split: str, rows: int, seed: int, faces: tuple[Size, ...] | None, options: Mapping[str, Any] | None
) -> Pairs:
    """The rows of one split, of all its sizes."""
    options = _all_options(name, options or {})
    faces = _known_faces(name, faces)
    if faces is None:
        return _draw_part(name, split, rows, seed, None, options)
    if rows < len(faces):
        raise ValueError(f"task {name!r}: {rows} rows for {len(faces)} sizes of {split}; give one row each at least")
    shares = [rows // len(faces) + (index < rows % len(faces)) for index in range(len(faces))]
    parts = [_draw_part(name, split, share, seed, face, options) for share, face in zip(shares, faces, strict=True)]
    return pairs_of(parts)


def _draw_part(name: str, split: str, rows: int, seed: int, face: Size | None, options: Mapping[str, Any]) -> PairSet:
    """The rows of one split and size, (N, E) and (N, T), checked."""
    task = TASKS[name]
    fixed = torch.Generator().manual_seed(seed)
    random = torch.Generator().manual_seed(_seed_of_rows(task, split, seed, face))
    sized = {"face": face} if task.train_sizes else {}
    drawn = task.sample(rows, split, fixed, random, **sized, **options)
    if not isinstance(drawn, tuple) or len(drawn) != 2:
        raise ValueError(f"task {name!r}: its sampler gives a {type(drawn).__name__}; give a pair (inputs, targets)")
    try:
        pairs = PairSet(*drawn, face=face)
    except ValueError as error:
        raise ValueError(f"task {name!r}: what its sampler gives for {split}: {error}") from error
    if len(pairs) > rows or (len(pairs) < rows and not task.finite):
        raise ValueError(
            f"task {name!r}: its sampler was asked for {rows} rows for {split} and gives {len(pairs)}; give as many "
            "as asked (fewer are right where the task says finite=True)"
        )
    return pairs


def _seed_of_rows(task: Task, split: str, seed: int, face: Size | None) -> int:
    """Of the generator of rows: another one for every split and size."""
    if split in SPLIT_SEEDS and not task.train_sizes:
        return 1000 * seed + SPLIT_SEEDS[split]
    return int.from_bytes(hashlib.sha256(f"{seed} {split} {face}".encode()).digest()[:8]) >> 1


def _all_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The task's options, with the values that are given."""
    known = TASKS[name].options
    for option in options:
        if option not in known:
            there = f"give one of {', '.join(known)}" if known else "it has none"
            raise ValueError(f"options: {option} = {options[option]!r}; the task {name!r} has no such option: {there}")
    return dict(known) | dict(options)


def _known_faces(name: str, faces: tuple[Size, ...] | None) -> tuple[Size, ...] | None:
    """The faces that are asked for, or the one that the task has by default, if it has one."""
    task = TASKS[name]
    if faces is None:
        return None if task.face is None else (task.face,)
    if not task.train_sizes and faces != (task.face,):
        has = "has no faces: leave sizes out" if task.face is None else f"has the face {task.face} alone: give this one"
        raise ValueError(f"sizes = {faces}; the task {name!r} {has}")
    check_faces("sizes", faces)
    return faces


def _check_widths(name: str, splits: Mapping[str, Pairs]) -> None:
    """Every split must have rows of one width, and every cell as many numbers whatever the size."""
    parts = [
        (split if part.face is None else f"{split} at {part.face[0]} x {part.face[1]}", part)
        for split, pairs in splits.items()
        for part in parts_of(pairs)
    ]
    first_name, first = parts[0]
    for part_name, part in parts:
        for side in ("inputs", "targets"):
            width, first_width = getattr(part, side).shape[1], getattr(first, side).shape[1]
            if width * _cells(first) != first_width * _cells(part):
                raise ValueError(
                    f"task {name!r}: its sampler gives {side} of width {first_width} for {first_name} and {width} for "
                    f"{part_name}; give every split the same width, and every cell as many numbers"
                )


def _cells(pairs: PairSet) -> int:
    return 1 if pairs.face is None else pairs.face[0] * pairs.face[1]
