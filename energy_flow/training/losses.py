"""Losses between output and target embeddings, in a registry.

Shapes: `B` rows, `E` output width. Every loss takes (B, E) outputs, (B, E) targets and the configuration, and gives
a scalar: the mean over the rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import EnergyConfig

SAME_TARGET = 1 - 1e-6  # targets of a larger cosine are one and the same


def mse(outputs: Tensor, targets: Tensor, config: EnergyConfig) -> Tensor:
    """Mean squared error over all numbers."""
    return F.mse_loss(outputs, targets)


def cosine(outputs: Tensor, targets: Tensor, config: EnergyConfig) -> Tensor:
    """1 - cosine."""
    return 1 - F.cosine_similarity(outputs, targets, dim=1).mean()


def contrastive(outputs: Tensor, targets: Tensor, config: EnergyConfig) -> Tensor:
    """In-batch contrastive loss (InfoNCE, van den Oord et al. 2018): find the own target among the batch's.

    Rows of the same target are not held against each other.
    """
    directions = F.normalize(targets, dim=1)
    logits = F.normalize(outputs, dim=1) @ directions.T / config.contrastive_temperature
    same = directions @ directions.T > SAME_TARGET
    same.fill_diagonal_(False)
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(logits), device=logits.device))


def cross_entropy(outputs: Tensor, targets: Tensor, config: EnergyConfig) -> Tensor:
    """Cross-entropy over groups of `target_classes` outputs; the largest target of a group is its class."""
    assert config.target_classes is not None  # validated by the configuration
    groups = (-1, config.target_classes)
    return F.cross_entropy(outputs.reshape(groups), targets.reshape(groups).argmax(1))


LOSSES: dict[str, Callable[[Tensor, Tensor, EnergyConfig], Tensor]] = {
    "mse": mse,
    "cosine": cosine,
    "contrastive": contrastive,
    "cross_entropy": cross_entropy,
}
DIRECTIONAL = ("cosine", "contrastive")  # these need targets with a direction


def total_loss(outputs: Tensor, targets: Tensor, config: EnergyConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the configured losses, and each of them unweighted."""
    terms = {name: LOSSES[name](outputs, targets, config) for name in config.loss_weights}
    weighted = [weight * terms[name] for name, weight in config.loss_weights.items()]
    return torch.stack(weighted).sum(), terms
