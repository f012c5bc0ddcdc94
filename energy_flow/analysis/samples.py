"""The samples that an analysis runs a model on, batch by batch, and what is known of them.

Shapes: `N` samples, `B` samples of a batch, `E` input width, `T` target width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..core import FlowProcessor
from ..data import TASKS, PairSet
from .labels import Labels, labels_of
from .scores import SampleScores

MOST_RECORDS = 2_000_000  # of the trace of a batch, about
MOST_SAMPLES = 256  # of a batch


class SampleBatch(NamedTuple):
    """Some samples, one after another in the set."""

    first: int  # the number of the first
    inputs: Tensor  # (B, E), on the model's device
    targets: Tensor  # (B, T), on the CPU
    labels: Tensor  # (B,) int64


@dataclass(frozen=True)
class Samples:
    """Samples of one size with their classes and scores.

    Attributes:
        pairs: N inputs and targets.
        task: its name in `TASKS`, where they are of one.
        labels: the class of every sample.
        scores: judges outputs.
    """

    pairs: PairSet
    task: str | None
    labels: Labels
    scores: SampleScores

    @classmethod
    def of(cls, pairs: PairSet, task: str | None = None, clusters: int = 8) -> Samples:
        """The samples of a set.

        Args:
            pairs: N inputs and targets, two at least.
            task: its name in `TASKS`, where they are of one.
            clusters: of the targets, as classes, where the task has none.

        Raises:
            ValueError: fewer than two samples, or than clusters.
        """
        if len(pairs) < 2:
            raise ValueError(f"{len(pairs)} samples; give two at least, as they are compared")
        return cls(pairs, task, labels_of(pairs, task, clusters), SampleScores(pairs, task))

    def __len__(self) -> int:
        return len(self.pairs)

    def batches(self, processor: FlowProcessor) -> Iterator[SampleBatch]:
        """All samples in batches of about equal size, so that the memory of a trace stays bounded."""
        config, weight = processor.config, processor.mapper.input_weight
        of_a_sample = config.max_active_flows * config.untrained_path
        size = min(MOST_SAMPLES, max(2, MOST_RECORDS // of_a_sample))
        for rows in torch.arange(len(self)).tensor_split(max(1, -(-len(self) // size))):
            inputs, targets = self.pairs.batch(rows)
            inputs = inputs.to(weight.device, weight.dtype)
            yield SampleBatch(int(rows[0]), inputs, targets, self.labels.values[rows])

    def score(self, batch: SampleBatch, output: Tensor) -> Tensor:
        """(B, T) outputs to (B,) float64 scores, on the CPU."""
        return self.scores(batch.inputs.float().cpu(), output.float().cpu(), batch.targets)

    def difficulty(self) -> Tensor | None:
        """(N,) how hard every sample is, where the task says so."""
        own = None if self.task is None else TASKS[self.task].difficulty
        return None if own is None else own(self.pairs.inputs[:], self.pairs.targets[:]).double()
