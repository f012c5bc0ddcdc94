"""What is lost in every row, so that rows can be drawn again.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from energy_flow.data import TASKS, PairSet, TextBank
from energy_flow.training import Judge

FOUND = 10  # texts among which the right one must be


def headline(task: str | None) -> str:
    """What the score of a task is called."""
    return TASKS[task].metric_name if task else f"acc@{FOUND}"


def losses_of(task: str | None, outputs: Tensor, pairs: PairSet, bank: TextBank | None = None) -> Tensor:
    """(N, 2) what is lost in a row, and what there is to lose: the score is 1 - sum / sum.

    Args:
        task: its name; None is a set of texts, with a bank.
        outputs: (N, T).
        pairs: their inputs and targets.
        bank: the texts that are ranked.
    """
    inputs, targets = pairs.inputs[:], pairs.targets[:]
    if task is None:
        ranks = Judge(bank).ranks(outputs, pairs)
        assert ranks is not None  # there is a bank
        return _all_or_nothing(ranks < FOUND)
    if TASKS[task].metric_name == "R2":
        lost = (outputs - targets).double().square().sum(1)
        return torch.stack((lost, (targets - targets.mean(0)).double().square().sum(1)), dim=1)

    def share(rows: slice) -> float:
        return TASKS[task].score(inputs[rows], outputs[rows], targets[rows], pairs.face)

    return _all_or_nothing(hits_of(share, len(outputs)))


def hits_of(share: Callable[[slice], float], count: int) -> Tensor:
    """(N,) bool: which rows are right, from who says of a slice which share of it is right; slices are halved."""
    hits = torch.zeros(count, dtype=torch.bool)
    waiting = [slice(0, count)]
    while waiting:
        rows = waiting.pop()
        right = share(rows)
        if right in (0.0, 1.0):
            hits[rows] = bool(right)
        else:
            middle = (rows.start + rows.stop) // 2
            waiting += [slice(rows.start, middle), slice(middle, rows.stop)]
    return hits


def _all_or_nothing(hits: Tensor) -> Tensor:
    return torch.stack(((~hits).double(), torch.ones(len(hits)).double()), dim=1)
