"""The rows of a data set that fit a lattice."""

from __future__ import annotations

from ..config import Box, EnergyConfig
from ..data import TASKS, PairData, PairSet, make_split, parts_of
from ..data.pairs import Pairs, one_size

SPLITS = ("train", "validation", "test")


def pairs_of_split(data: PairData, split: str, config: EnergyConfig) -> Pairs:
    """The rows of a split; of one that a task has beside the three, as many as its test split has are drawn.

    Raises:
        ValueError: the set has no such split.
    """
    require_split(data, split)
    if data.task is None or split in SPLITS:
        return getattr(data, split)
    return make_split(data.task, split, len(data.test), config.data_seed, options=data.options)


def require_split(data: PairData, split: str) -> None:
    """Refuse, with a ValueError, a split that the set does not have."""
    known = SPLITS if data.task is None else (*SPLITS, *TASKS[data.task].extra_splits)
    if split not in known:
        raise ValueError(f"split = {split!r}; {data.name} has {', '.join(known)}: give one of these")


def pairs_in_box(box: Box, data: PairData, split: str, rows: int, config: EnergyConfig) -> PairSet:
    """Rows for a lattice of some size: drawn, where the set is a task of free size, or else those that there are.

    Args:
        box: the lattice.
        data: the set.
        split: of it.
        rows: how many are drawn.
        config: of the model.

    Raises:
        ValueError: the set has no rows of this size.
    """
    require_split(data, split)
    sites = config.in_box(box).sites
    if data.task is not None and TASKS[data.task].train_sizes:
        return one_size(data.name, make_split(data.task, split, rows, config.data_seed, [sites], data.options))
    for part in parts_of(pairs_of_split(data, split, config)):
        if part.face in (None, sites):
            return part
    raise ValueError(
        f"a box of {box} has {sites[0]} x {sites[1]} sites, and {data.name} has no rows for as many; give other "
        "data, or another lattice with --box"
    )
