"""The learning rate over the steps of a run, and the optimizer that uses it, on one process or over several."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from ..distributed.ranks import Ranks


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
    """Adam or AdamW; only matrices decay.

    With `shard_optimizer`, each of several processes keeps the moments of its part of the weights alone, updates that
    part and sends it to the others (ZeRO stage 1, Rajbhandari et al. 2020).
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.dim() == 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() != 2], "weight_decay": 0.0},
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    if config.shard_optimizer and Ranks().count > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer  # slow to import, and with warnings

        return ZeroRedundancyOptimizer(groups, kind, lr=config.learning_rate)
    return kind(groups, lr=config.learning_rate)


def moments_of(optimizer: torch.optim.Optimizer, ranks: Ranks) -> dict[int, dict[str, Tensor]]:
    """The optimizer's tensors by the number of their weight; sharded ones are brought together on the first process."""
    consolidate = getattr(optimizer, "consolidate_state_dict", None)  # a sharded one has it
    if consolidate is not None:
        consolidate(to=0)
    return optimizer.state_dict()["state"] if ranks.first else {}


def load_moments(optimizer: torch.optim.Optimizer, moments: dict[int, dict[str, Tensor]]) -> None:
    """Put back what `moments_of` gave; a sharded optimizer keeps its part."""
    groups = torch.optim.Optimizer.state_dict(optimizer)["param_groups"]  # a sharded one's own wants all parts first
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
