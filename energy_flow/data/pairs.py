"""Pairs of embeddings, their texts, and the three splits of a data set.

Shapes: `N` pairs, `E` input width, `T` target width, `V` texts in the bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairSet:
    """Inputs and their targets, row by row; texts are optional.

    Attributes:
        inputs: (N, E) float32.
        targets: (N, T) float32.
        input_texts: N texts, or none at all.
        target_texts: N texts, or none at all.

    Raises:
        ValueError: empty, unequal counts, not floating, or a row that is not finite.
    """

    inputs: Tensor
    targets: Tensor
    input_texts: Sequence[str] = ()
    target_texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_embeddings("inputs", self.inputs)
        check_embeddings("targets", self.targets)
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"inputs has {len(self.inputs)} rows and targets {len(self.targets)}; give one target for each input"
            )
        for name, texts in (("input_texts", self.input_texts), ("target_texts", self.target_texts)):
            if len(texts) not in (0, len(self.inputs)):
                raise ValueError(
                    f"{name} has {len(texts)} texts for {len(self.inputs)} rows; give one for each row or none"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    def spaced(self, count: int) -> PairSet:
        """At most `count` pairs at equal distances, always the same ones: examples to look at."""
        step = max(1, len(self) // max(1, count))
        rows = slice(0, step * count, step)
        return PairSet(self.inputs[rows], self.targets[rows], self.input_texts[rows], self.target_texts[rows])


@dataclass(frozen=True)
class TextBank:
    """The candidates that outputs are decoded to.

    Attributes:
        texts: V texts, each once.
        embeddings: (V, T) float32.
    """

    texts: Sequence[str]
    embeddings: Tensor

    def __post_init__(self) -> None:
        check_embeddings("bank embeddings", self.embeddings)
        if len(self.texts) != len(self.embeddings):
            raise ValueError(
                f"the bank has {len(self.texts)} texts and {len(self.embeddings)} embeddings; give one for each text"
            )


@dataclass(frozen=True)
class PairData:
    """A data set as training wants it: three splits, and a bank where the targets are texts."""

    name: str
    train: PairSet
    validation: PairSet
    test: PairSet
    bank: TextBank | None = None


def check_embeddings(name: str, rows: Tensor, width: int | None = None) -> None:
    """Refuse what cannot be a set of embeddings, before any work is spent on it.

    Args:
        name: what the caller calls these rows; it leads the message.
        rows: (N, width), floating.
        width: the width that the model expects, where there is one.

    Raises:
        ValueError: not two-dimensional, empty, not floating, of another width, or with a non-finite row.
    """
    if rows.dim() != 2:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}; give a matrix of shape (rows, width)")
    if rows.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(rows.shape)} and so holds nothing; give at least one row")
    if not rows.is_floating_point():
        raise ValueError(f"{name} has dtype {rows.dtype}; embeddings are floating: convert them with .float()")
    if width is not None and rows.shape[1] != width:
        raise ValueError(
            f"{name} has width {rows.shape[1]}, the model expects {width}; use data or a model of one width"
        )
    finite = torch.isfinite(rows).all(dim=1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten()
        raise ValueError(
            f"{name} has {len(bad)} rows with NaN or infinite numbers, first row {int(bad[0])}; remove them"
        )
