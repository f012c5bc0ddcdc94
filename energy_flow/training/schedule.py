"""The learning rate over the steps of a run, and the optimizer that uses it."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config import EnergyConfig


def learning_rate_factor(step: int, total_steps: int, config: EnergyConfig) -> float:
    """Linear warm-up, then cosine decay (Loshchilov and Hutter 2017): the share of the peak rate at a step.

    Args:
        step: from 0 to total_steps - 1.
        total_steps: steps of the whole run; a run shorter than the warm-up only warms up.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    floor = config.final_learning_rate_ratio
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def create_optimizer(model: nn.Module, config: EnergyConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; only matrices decay."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.dim() == 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() != 2], "weight_decay": 0.0},
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(groups, lr=config.learning_rate)
