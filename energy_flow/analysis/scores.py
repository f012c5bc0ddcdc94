"""How right the output of each sample is: a number for each, whose mean is the model's score.

Shapes: `N` samples, `B` samples of a batch, `T` target width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import TASKS, PairSet, Task
from ..data.stored_rows import chunks
from ..data.tasks import r_squared


class SampleScores:
    """Scores samples one by one, 1 at best.

    A task that is judged by R2 gives every sample `1 - |o - t|^2 / V`, where V is the mean of `|t - mean|^2`: their
    mean is R2. Other tasks judge every sample by their own figure, and data without a task by the cosine of output and
    target.

    Args:
        pairs: all N samples.
        task: its name in `TASKS`, where they are of one.
    """

    def __init__(self, pairs: PairSet, task: str | None) -> None:
        self._task: Task | None = None if task is None else TASKS[task]
        self._face = pairs.face
        self.name = "cosine" if self._task is None else self._task.metric_name
        self._variance = 1.0
        if self._task is not None and self._task.metric is r_squared:
            parts = list(chunks(pairs.targets))
            mean = sum(part.double().sum(0) for part in parts) / len(pairs)
            self._variance = float(sum((part.double() - mean).square().sum() for part in parts)) / len(pairs)

    def __call__(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, E), (B, T) and (B, T), on the CPU, to (B,) float64."""
        if self._task is None:
            return F.cosine_similarity(outputs.double(), targets.double(), dim=1)
        if self._task.metric is r_squared:
            return 1 - (outputs - targets).double().square().sum(1) / self._variance
        rows = zip(inputs.split(1), outputs.split(1), targets.split(1), strict=True)
        return torch.tensor([self._task.score(*row, self._face) for row in rows], dtype=torch.float64)
