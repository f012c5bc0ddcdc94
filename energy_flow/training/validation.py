"""What training pairs must be, and how the validation set is looked at.

Shapes: `N` pairs, `E out` width of the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import EnergyConfig
from ..data.checked_rows import check_width
from ..data.pairs import Pairs, PairSet, TextBank, parts_of
from ..data.stored_rows import chunks
from ..data.tasks import TASKS
from ..utils.helpers import batch_slices
from .batches import box_of
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
        pairs: the validation set, of one size or of several.
        bank: what outputs are decoded to, where targets are texts.
        figures: more figures, by their names.
        loss: what is minimised; by default the configuration's losses.
        task: whose figure is one of them, by its name in `TASKS`.
    """

    def __init__(
        self,
        pairs: Pairs,
        bank: TextBank | None,
        figures: Mapping[str, Figure] | None = None,
        loss: Loss | None = None,
        task: str | None = None,
    ) -> None:
        self.pairs, self.figures, self.loss = pairs, {}, loss
        self._task = None if task is None else TASKS[task]
        self._bank, self._judge = bank, Judge(bank)
        taken = [name for name in figures or {} if name in (*self.names, "step", "epoch", "kind", "examples")]
        if taken:
            raise ValueError(f"figures has {taken[0]!r}, which every record has; give yours another name")
        self.figures = dict(figures or {})

    @property
    def names(self) -> list[str]:
        """The figures that there are, which the best weights may be chosen by."""
        ranked = [] if self._bank is None else [*RANKED, *(["synonym_acc_1"] if self._bank.groups else [])]
        own = [*([] if self._task is None else [self._task.metric_name]), *self.figures]
        return ["loss", "train_loss", "mse", "cosine", "centred_cosine", *ranked, *own, *self._sized_names(own)]

    def _sized_names(self, own: Sequence[str]) -> list[str]:
        parts = parts_of(self.pairs)
        return [sized(name, part) for part in parts for name in own] if len(parts) > 1 else []

    def require(self, best_by: str) -> None:
        """Refuse, with a ValueError, to choose the best weights by a figure that there will not be."""
        if best_by not in self.names:
            raise ValueError(f"best_by = {best_by!r}; this validation set gives {', '.join(self.names)}")

    @torch.no_grad()
    def judge(self, outputs: Sequence[Tensor], config: EnergyConfig) -> Look:
        """Loss and figures of the outputs, and the same few of them in words.

        Args:
            outputs: (N, E out) of each size.
            config: the losses' weights.
        """
        parts = parts_of(self.pairs)
        looks = [self._judge_part(*one, config) for one in zip(outputs, parts, strict=True)]
        rows = [len(part) / len(self.pairs) for part in parts]
        own = _mean_of([look.own for look in looks], rows)
        if len(parts) > 1:
            own |= {sized(name, part): look.own[name] for look, part in zip(looks, parts, strict=True) for name in own}
        metrics = looks[0].metrics
        if len(parts) > 1:
            metrics = EmbeddingMetrics(**_mean_of([look.metrics.to_dict() for look in looks], rows))
        loss = sum(look.loss * share for look, share in zip(looks, rows, strict=True))
        return Look(loss, metrics, own, looks[0].examples)

    def _judge_part(self, outputs: Tensor, pairs: PairSet, config: EnergyConfig) -> Look:
        total, targets = 0.0, pairs.targets[:]
        for rows in batch_slices(len(pairs), config.batch_size):
            loss, _ = (self.loss or total_loss)(outputs[rows], targets[rows], config, slice(None))
            total += float(loss) * len(outputs[rows])
        own = {name: float(figure(outputs, targets)) for name, figure in self.figures.items()}
        if self._task is not None:
            score = self._task.score(pairs.inputs[:], outputs, targets, pairs.face)
            own = {self._task.metric_name: score} | own
        return Look(total / len(pairs), self._judge.measure(outputs, pairs), own, self._decode_examples(outputs, pairs))

    def _decode_examples(self, outputs: Tensor, pairs: PairSet) -> list[Example]:
        nearest_texts = self._judge.nearest
        if nearest_texts is None or not pairs.input_texts:
            return []
        rows = pairs.spaced_rows(EXAMPLES)
        nearest = nearest_texts(outputs[rows], min(3, len(nearest_texts.texts)))
        found = [tuple(match.text for match in matches) for matches in nearest]
        shown = pairs.subset(rows)
        return [Example(*row) for row in zip(shown.input_texts, shown.target_texts, found, strict=True)]


def sized(name: str, pairs: PairSet) -> str:
    """The name of a figure at one size, such as `whole mazes 5x5`."""
    return name if pairs.face is None else f"{name} {pairs.face[0]}x{pairs.face[1]}"


def _mean_of(figures: Sequence[Mapping[str, float]], shares: Sequence[float]) -> dict[str, float]:
    """The mean of each figure over parts, by their shares of all rows; a figure that a part lacks is 0 there."""
    names = dict.fromkeys(name for one in figures for name in one)
    return {name: sum(one.get(name, 0.0) * share for one, share in zip(figures, shares, strict=True)) for name in names}


def check_pairs(name: str, pairs: Pairs, config: EnergyConfig, needs_directions: bool) -> None:
    """Refuse pairs that a model of this configuration cannot learn from.

    Args:
        name: what the caller calls these pairs; it leads the message.
        pairs: inputs and targets.
        config: the widths.
        needs_directions: whether a loss needs targets with a direction.

    Raises:
        ValueError: of another width, or with a target that has no direction where a loss needs one.
    """
    for part in parts_of(pairs):
        _check_part(sized(name, part) if part is not pairs else name, part, config, needs_directions)


def _check_part(name: str, pairs: PairSet, config: EnergyConfig, needs_directions: bool) -> None:
    box = box_of(pairs.face, config)
    config = config if box is None else config.in_box(box)
    check_width(f"{name}: inputs", pairs.inputs, config.input_embedding_dim)
    check_width(f"{name}: targets", pairs.targets, config.output_embedding_dim)
    if needs_directions:
        zero = torch.cat([(chunk == 0).all(dim=1) for chunk in chunks(pairs.targets)]).nonzero().flatten()
        if len(zero):
            raise ValueError(
                f"{name}: targets has {len(zero)} rows of zeros, first row {int(zero[0])}; they "
                "have no direction for the cosine: remove them, or train with loss_mse alone"
            )
