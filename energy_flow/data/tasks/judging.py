"""What several tasks share: how outputs are judged, and the losses that go with it.

Shapes: `N` rows, `T` target width.
"""

from __future__ import annotations

from torch import Tensor

REGRESSION = {"mapping": "mixed", "loss_mse": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
CLASSES = {"mapping": "local", "loss_cross_entropy": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Share of the targets' variance that the outputs explain, over all numbers together; both are (N, T)."""
    residual = (outputs - targets).double().square().sum()
    total = (targets - targets.mean(0)).double().square().sum()
    return float(1 - residual / total)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of the rows in which the largest output is the right class; both are (N, T), the targets one-hot."""
    return float((outputs.argmax(1) == targets.argmax(1)).double().mean())
