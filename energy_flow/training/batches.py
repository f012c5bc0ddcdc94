"""Which rows a batch has, and in which lattice it runs. All of it follows from seed, epoch and rows.

Shapes: `B` rows of a batch, `E` input width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import ENERGY_RULES, FACES, Box, EnergyConfig
from ..core import Prelude
from ..data.pairs import Pairs, Size, SizedPairs, parts_of
from ..data.reading import Batch
from ..data.tasks import Waiting
from ..utils.helpers import epoch_order

SEEDS, SIZES = 1_000_003, 7919  # from one seed, and from one size, to the next; two primes
WAITING_SHARE = 0.7  # of the preludes of a task that can wait; in the others its inputs are there from the beginning


class Setting(NamedTuple):
    """Where a batch runs."""

    box: Box | None = None  # None is the model's own
    prelude: Prelude | None = None
    seed: int = 0  # of the noise


def batch_count(pairs: Pairs, size: int) -> int:
    """Batches of an epoch; one has rows of one size alone."""
    return sum(-(-len(part) // size) for part in parts_of(pairs))


def epoch_batches(pairs: Pairs, size: int, seed: int, epoch: int) -> list[Tensor]:
    """The rows of every batch of an epoch, int64; those of different sizes take turns at random."""
    if not isinstance(pairs, SizedPairs):
        return list(epoch_order(len(pairs), seed, epoch).split(size))
    batches: list[Tensor] = []
    for number, (part, first) in enumerate(zip(pairs.parts, pairs.offsets, strict=False)):
        batches += (epoch_order(len(part), seed + SIZES * (number + 1), epoch) + first).split(size)
    return [batches[place] for place in epoch_order(len(batches), seed, epoch).tolist()]


def box_of(face: Size | None, config: EnergyConfig) -> Box | None:
    """The lattice for rows that were made for some face; None where that is the model's own.

    It is so for rows of no face, and where the faces of the model are made for one number of sites.
    """
    if face is None or face == config.sites or not FACES[config.mapping].tied:
        return None
    return config.box_of(face)


def largest_of(pairs: Pairs, config: EnergyConfig) -> EnergyConfig:
    """The configuration in the box of the largest part, with the longest prelude: what a step must find room for."""
    boxes = [box_of(part.face, config) or config.box for part in parts_of(pairs)]
    found = [config.in_box(config.in_box(box).deepened(config.prelude_steps)) for box in boxes]
    return max(found, key=lambda one: one.num_sites * one.untrained_path)


def _reads_what_entered(config: EnergyConfig) -> bool:
    """Whether a model notices that its input has changed; otherwise it would wait for ever."""
    return "recall" in config.features or getattr(ENERGY_RULES[config.energy_rule], "relaxes", False)


def setting_of(batch: Batch, inputs: Tensor, config: EnergyConfig, waiting: Waiting | None) -> Setting:
    """Where a batch of training runs.

    Args:
        batch: its rows, and the face they were made for.
        inputs: (B, E) of the batch.
        config: prelude, depth.
        waiting: makes inputs on which there is nothing to do yet, where the task has such.
    """
    box = box_of(batch.face, config)
    of_rows = int((batch.rows.double() * torch.arange(1, len(batch.rows) + 1)).sum()) % 2**31
    seed = config.seed * SEEDS + of_rows
    if not config.prelude_steps:
        return Setting(box, None, seed)
    random = torch.Generator().manual_seed(seed)
    has, waits = torch.rand(2, generator=random).tolist()
    steps = int(torch.randint(1, config.prelude_steps + 1, (1,), generator=random))
    if has >= config.prelude_share:
        return Setting(box, None, seed)
    first = inputs
    if waiting is not None and waits < WAITING_SHARE and _reads_what_entered(config):
        first = waiting(inputs, batch.face or config.sites, random)
    return Setting(box, Prelude(steps, first), seed)
