"""The rows of a data set that fit a lattice."""

from __future__ import annotations

from typing import Literal

from ..config import Box, EnergyConfig
from ..data import TASKS, PairData, PairSet, make_split, parts_of
from ..data.pairs import one_size

Split = Literal["train", "validation", "test"]


def pairs_in_box(box: Box, data: PairData, split: Split, rows: int, config: EnergyConfig) -> PairSet:
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
    sites = config.in_box(box).sites
    if data.task is not None and TASKS[data.task].train_sizes:
        return one_size(data.name, make_split(data.task, split, rows, config.data_seed, [sites], data.options))
    for part in parts_of(getattr(data, split)):
        if part.face in (None, sites):
            return part
    raise ValueError(
        f"a box of {box} has {sites[0]} x {sites[1]} sites, and {data.name} has no rows for as many; give other "
        "data, or another lattice with --box"
    )
