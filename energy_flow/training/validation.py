"""What training pairs must be, and how the validation set is looked at.

Shapes: `N` pairs, `E out` width of the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import EnergyConfig
from ..data.pairs import PairSet, TextBank, check_width
from ..data.stored_rows import chunks
from ..utils.helpers import batch_slices
from .losses import Loss, total_loss
from .metrics import RANKED, EmbeddingMetrics, Judge
from .run.observers import Example

EXAMPLES = 3  # of the validation set, decoded at every look
Figure = Callable[[Tensor, Tensor], float]  # (N, E out) outputs and targets to a number; more is better


class Look(NamedTuple):
    """What a look at the validation set found."""

    loss: float
    metrics: EmbeddingMetrics
    own: dict[str, float]  # a task's figure, and the user's
    examples: list[Example]


class Validation:
    """The pairs that are looked at, and who judges them.

    Args:
        pairs: the validation set.
        bank: what outputs are decoded to, where targets are texts.
        figures: more figures, by their names.
        loss: what is minimised; by default the configuration's losses.
    """

    def __init__(
        self,
        pairs: PairSet,
        bank: TextBank | None,
        figures: Mapping[str, Figure] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.pairs, self.figures, self.loss = pairs, {}, loss
        self._bank, self._judge = bank, Judge(bank)
        taken = [name for name in figures or {} if name in (*self.names, "step", "epoch", "kind", "examples")]
        if taken:
            raise ValueError(f"figures has {taken[0]!r}, which every record has; give yours another name")
        self.figures = dict(figures or {})

    @property
    def names(self) -> list[str]:
        """The figures that there are, which the best weights may be chosen by."""
        ranked = [] if self._bank is None else [*RANKED, *(["synonym_acc_1"] if self._bank.groups else [])]
        return ["loss", "train_loss", "mse", "cosine", "centred_cosine", *ranked, *self.figures]

    def require(self, best_by: str) -> None:
        """Refuse, with a ValueError, to choose the best weights by a figure that there will not be."""
        if best_by not in self.names:
            raise ValueError(f"best_by = {best_by!r}; this validation set gives {', '.join(self.names)}")

    @torch.no_grad()
    def judge(self, outputs: Tensor, config: EnergyConfig) -> Look:
        """Loss and figures of (N, E out) outputs, and the same few of them in words."""
        pairs, total = self.pairs, 0.0
        for rows in batch_slices(len(pairs), config.batch_size):
            loss, _ = (self.loss or total_loss)(outputs[rows], pairs.targets[rows], config, slice(None))
            total += float(loss) * len(outputs[rows])
        metrics = self._judge.measure(outputs, pairs)
        own = {name: float(figure(outputs, pairs.targets[:])) for name, figure in self.figures.items()}
        return Look(total / len(pairs), metrics, own, self._decode_examples(outputs))

    def _decode_examples(self, outputs: Tensor) -> list[Example]:
        nearest_texts, pairs = self._judge.nearest, self.pairs
        if nearest_texts is None or not pairs.input_texts:
            return []
        rows = pairs.spaced_rows(EXAMPLES)
        nearest = nearest_texts(outputs[rows], min(3, len(nearest_texts.texts)))
        found = [tuple(match.text for match in matches) for matches in nearest]
        shown = pairs.subset(rows)
        return [Example(*row) for row in zip(shown.input_texts, shown.target_texts, found, strict=True)]


def check_pairs(name: str, pairs: PairSet, config: EnergyConfig, needs_directions: bool) -> None:
    """Refuse pairs that a model of this configuration cannot learn from.

    Args:
        name: what the caller calls these pairs; it leads the message.
        pairs: inputs and targets.
        config: the widths.
        needs_directions: whether a loss needs targets with a direction.

    Raises:
        ValueError: of another width, or with a target that has no direction where a loss needs one.
    """
    check_width(f"{name}: inputs", pairs.inputs, config.input_embedding_dim)
    check_width(f"{name}: targets", pairs.targets, config.output_embedding_dim)
    if needs_directions:
        zero = torch.cat([(chunk == 0).all(dim=1) for chunk in chunks(pairs.targets)]).nonzero().flatten()
        if len(zero):
            raise ValueError(
                f"{name}: targets has {len(zero)} rows of zeros, first row {int(zero[0])}; they "
                "have no direction for the cosine: remove them, or train with loss_mse alone"
            )
