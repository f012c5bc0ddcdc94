"""Losses between output and target embeddings, in a registry.

Shapes: `B` rows of a batch, `R` of them that are looked at, `E` output width. Every loss takes (R, E) outputs, the
(B, E) targets of the whole batch, the slice of the batch that the outputs belong to, and the configuration, and gives a
scalar: the mean over the R rows. So the means of the parts of a batch, weighted by their rows, add up to the batch's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import EnergyConfig

WHOLE_BATCH = slice(None)
SMALLEST, LARGEST = 1e-6, 1e15  # of the largest number of a row whose squares float32 holds
SAME_TARGET = 1 - 1e-6  # targets of a larger cosine are one and the same


def mse(outputs: Tensor, targets: Tensor, rows: slice, config: EnergyConfig) -> Tensor:
    """Mean squared error over all numbers."""
    return F.mse_loss(outputs, targets[rows])


def cosine(outputs: Tensor, targets: Tensor, rows: slice, config: EnergyConfig) -> Tensor:
    """1 - cosine."""
    return 1 - F.cosine_similarity(_of_fit_size(outputs), _of_fit_size(targets[rows]), dim=1).mean()


def contrastive(outputs: Tensor, targets: Tensor, rows: slice, config: EnergyConfig) -> Tensor:
    """In-batch contrastive loss (InfoNCE, van den Oord et al. 2018): find the own target among the whole batch's.

    Rows of the same target are not held against each other.
    """
    directions = F.normalize(_of_fit_size(targets), dim=1)
    own = torch.arange(len(targets), device=targets.device)[rows]
    logits = F.normalize(_of_fit_size(outputs), dim=1) @ directions.T / config.contrastive_temperature
    same = (directions[rows] @ directions.T > SAME_TARGET).scatter(1, own[:, None], False)
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), own)


def cross_entropy(outputs: Tensor, targets: Tensor, rows: slice, config: EnergyConfig) -> Tensor:
    """Cross-entropy over groups of `target_classes` outputs; the largest target of a group is its class."""
    assert config.target_classes is not None  # validated by the configuration
    groups = (-1, config.target_classes)
    return F.cross_entropy(outputs.reshape(groups), targets[rows].reshape(groups).argmax(1))


def _of_fit_size(rows: Tensor) -> Tensor:
    """(R, E) rows that are so small or large that their squares would be lost, at size 1; the others as they are."""
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    lost = ((largest < SMALLEST) | (largest > LARGEST)) & (largest > 0) & largest.isfinite()
    return rows / torch.where(lost, largest, 1.0)


LOSSES: dict[str, Callable[[Tensor, Tensor, slice, EnergyConfig], Tensor]] = {
    "mse": mse,
    "cosine": cosine,
    "contrastive": contrastive,
    "cross_entropy": cross_entropy,
}
DIRECTIONAL = ("cosine", "contrastive")  # these need targets with a direction


Loss = Callable[[Tensor, Tensor, EnergyConfig, slice], tuple[Tensor, dict[str, Tensor]]]  # as `total_loss`
OwnLoss = Callable[[Tensor, Tensor], Tensor]  # (R, E) outputs and their (R, E) targets to the mean over the R rows


def total_loss(
    outputs: Tensor, targets: Tensor, config: EnergyConfig, rows: slice = WHOLE_BATCH
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the configured losses, and each of them unweighted.

    Args:
        outputs: (R, E) of some rows of a batch.
        targets: (B, E) of the whole batch.
        config: the losses' weights.
        rows: which rows of the batch the outputs belong to; by default all.
    """
    terms = {name: LOSSES[name](outputs, targets, rows, config) for name in config.loss_weights}
    weighted = [weight * terms[name] for name, weight in config.loss_weights.items()]
    return torch.stack(weighted).sum(), terms


def own_loss(loss: OwnLoss) -> Loss:
    """A loss of the user's in the form of `total_loss`: a mean over rows, so that parts of a batch add up.

    Raises:
        ValueError: in training, what the loss gives is no scalar.
    """

    def measured(
        outputs: Tensor, targets: Tensor, config: EnergyConfig, rows: slice = WHOLE_BATCH
    ) -> tuple[Tensor, dict[str, Tensor]]:
        value = loss(outputs, targets[rows])
        if not isinstance(value, Tensor) or value.dim():
            raise ValueError(f"loss gave {type(value).__name__} {getattr(value, 'shape', '')}; give a scalar tensor")
        return value, {}

    return measured
