"""How far a run goes: a new one, or one that goes on, perhaps for longer than it was planned."""

from __future__ import annotations

import hashlib
import numbers

import torch

from ..config import EnergyConfig
from ..data.pairs import Pairs, parts_of
from ..distributed.ranks import Ranks
from ..utils.logging import logger
from .batches import batch_count
from .run.run_state import RunState
from .schedule import Schedule

PROBED_ROWS = 1000  # of the training set, for its fingerprint


def plan_run(
    state: RunState | None, pairs: Pairs, epochs: int | None, config: EnergyConfig, schedule: Schedule, ranks: Ranks
) -> RunState:
    """The state of a new run, or of the one that goes on, with the epochs that are asked for.

    Args:
        state: of the run that goes on; None for a new one.
        pairs: what is trained on.
        epochs: passes over the pairs; by default those that were planned, or the configuration's.
        config: batch size, epochs.
        schedule: what the learning rate follows, for the words of the log.
        ranks: the processes, all of which must train on the same.

    Raises:
        ValueError: the pairs are not those of the run that goes on, or it is beyond these epochs already.
    """
    steps_per_epoch, data = batch_count(pairs, config.batch_size), fingerprint_of(pairs)
    if epochs is None:
        epochs = config.epochs if state is None else state.epochs
    if isinstance(epochs, bool) or not isinstance(epochs, numbers.Integral) or epochs < 1:
        raise ValueError(f"epochs = {epochs!r}; give a whole number of at least 1")
    epochs = int(epochs)
    if len({*ranks.everyones((data, epochs))}) > 1:
        raise ValueError("the processes have different training rows or epochs; give all the same")
    if state is None:
        return RunState(epochs * steps_per_epoch, data, epochs, micro_batches=config.accumulation, ranks=ranks.count)
    if state.data != data:
        raise ValueError(
            "the run that goes on has other training rows; give the data that it was started with, or start a new run "
            "from its weights"
        )
    if epochs != state.epochs:
        _change_epochs(state, epochs, steps_per_epoch, config, schedule)
    return state


def fingerprint_of(pairs: Pairs) -> str:
    """What tells one training set from another: its shapes, and some of its rows."""
    digest = hashlib.sha256()
    for part in parts_of(pairs):
        digest.update(repr((tuple(part.inputs.shape), tuple(part.targets.shape))).encode())
        rows = torch.arange(0, len(part), max(1, len(part) // PROBED_ROWS))
        for matrix in part.batch(rows):
            digest.update(matrix.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _change_epochs(
    state: RunState, epochs: int, steps_per_epoch: int, config: EnergyConfig, schedule: Schedule
) -> None:
    """Plan another number of epochs for a run that goes on, and say what the learning rate makes of it."""
    begun = state.epoch if state.batch else state.epoch - 1
    if epochs < begun:
        raise ValueError(f"epochs = {epochs}; the run that goes on is in epoch {begun}: give at least {begun}")
    planned, total = state.epochs, epochs * steps_per_epoch
    rates = [config.learning_rate * schedule(state.step, steps) for steps in (state.total_steps, total)]
    logger.info(
        "%d epochs instead of %d: the schedule of the learning rate is that of a run of %d steps from here on, so the "
        "rate at step %d is %.3g instead of %.3g",
        *(epochs, planned, total, state.step + 1, rates[1], rates[0]),
    )
    state.epochs, state.total_steps, state.ended = epochs, total, ""
