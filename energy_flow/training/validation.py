"""What training pairs must be, and how the validation set is looked at after every epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import EnergyConfig
from ..data.pairs import PairSet, TextBank, check_width
from ..utils.helpers import batch_slices
from ..data.stored_rows import chunks
from .losses import DIRECTIONAL, total_loss
from .metrics import EmbeddingMetrics, Judge
from .observers import Example

EXAMPLES = 3  # of the validation set, decoded after every epoch


class Validation:
    """The pairs that are looked at after every epoch, and who judges them."""

    def __init__(self, pairs: PairSet, bank: TextBank | None) -> None:
        self.pairs, self._judge = pairs, Judge(bank)

    @torch.no_grad()
    def judge(self, outputs: Tensor, config: EnergyConfig) -> tuple[float, EmbeddingMetrics, list[Example]]:
        """Loss and figures of (N, E out) outputs, and the same few of them in words."""
        pairs, total = self.pairs, 0.0
        for rows in batch_slices(len(pairs), config.batch_size):
            loss, _ = total_loss(outputs[rows], pairs.targets[rows], config)
            total += float(loss) * len(outputs[rows])
        return total / len(pairs), self._judge.measure(outputs, pairs), self._decode_examples(outputs)

    def _decode_examples(self, outputs: Tensor) -> list[Example]:
        nearest_texts, pairs = self._judge.nearest, self.pairs
        if nearest_texts is None or not pairs.input_texts:
            return []
        rows = pairs.spaced_rows(EXAMPLES)
        nearest = nearest_texts(outputs[rows], min(3, len(nearest_texts.texts)))
        found = [tuple(match.text for match in matches) for matches in nearest]
        shown = pairs.subset(rows)
        return [Example(*row) for row in zip(shown.input_texts, shown.target_texts, found, strict=True)]


def check_pairs(name: str, pairs: PairSet, config: EnergyConfig) -> None:
    """Refuse pairs that a model of this configuration cannot learn from.

    Args:
        name: what the caller calls these pairs; it leads the message.
        pairs: inputs and targets.
        config: widths and losses.

    Raises:
        ValueError: of another width, or with a target that has no direction where a loss needs one.
    """
    check_width(f"{name}: inputs", pairs.inputs, config.input_embedding_dim)
    check_width(f"{name}: targets", pairs.targets, config.output_embedding_dim)
    if any(loss in DIRECTIONAL for loss in config.loss_weights):
        zero = torch.cat([(chunk == 0).all(dim=1) for chunk in chunks(pairs.targets)]).nonzero().flatten()
        if len(zero):
            raise ValueError(
                f"{name}: targets has {len(zero)} rows of zeros, first row {int(zero[0])}; they "
                "have no direction for the cosine: remove them, or train with loss_mse alone"
            )
