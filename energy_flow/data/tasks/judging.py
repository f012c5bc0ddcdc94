"""What several tasks share: how outputs are judged, and the losses that go with it.

Shapes: `N` rows, `T` target width, `S` cells of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

REGRESSION = {"mapping": "mixed", "loss_mse": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
CLASSES = {"mapping": "local", "loss_cross_entropy": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
CELL_CLASSES = CLASSES | {"mapping": "tied"}  # a class per cell, with one site for each: every size has the same faces


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Share of the targets' variance that the outputs explain, over all numbers together; both are (N, T)."""
    residual = (outputs - targets).double().square().sum()
    total = (targets - targets.mean(0)).double().square().sum()
    return float(1 - residual / total)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of the rows in which the largest output is the right class; both are (N, T), the targets one-hot."""
    return whole_rows(outputs, targets, targets.shape[1])


def class_of_cells(rows: Tensor, classes: int) -> Tensor:
    """(N, S) int64: the class of every cell, which is the largest of its numbers; rows are (N, S * classes)."""
    return rows.reshape(len(rows), -1, classes).argmax(-1)


def chosen_class(outputs: Tensor, classes: int) -> Tensor:
    """(N, S) int64 as `class_of_cells`, and -1 where no number is larger than all others, or one is not finite."""
    cells = outputs.reshape(len(outputs), -1, classes)
    best = cells.amax(-1, keepdim=True)
    alone = ((cells == best).sum(-1) == 1) & cells.isfinite().all(-1)
    return torch.where(alone, cells.argmax(-1), -1)


def whole_rows(outputs: Tensor, targets: Tensor, classes: int) -> float:
    """Share of the rows in which every cell is right; both are (N, S * classes), the targets one-hot per cell.

    A cell whose numbers are not finite, or have no single largest, is wrong.
    """
    return float((chosen_class(outputs, classes) == class_of_cells(targets, classes)).all(1).double().mean())
