"""The learning rate over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..config import EnergyConfig
from .optimizers import BASE_RATE

Schedule = Callable[[int, int], float]  # (step from 0, steps of the whole run) to the share of the peak rate
LONGEST_WARMUP, WARMUP_SHARE = 100, 0.1  # steps, and of the whole run, unless the configuration says otherwise


def warmup_steps(total_steps: int, config: EnergyConfig) -> int:
    """Steps over which the rate rises: the configuration's, or 100, or a tenth of the run where that is less."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    return min(LONGEST_WARMUP, int(WARMUP_SHARE * total_steps))


def learning_rate_factor(step: int, total_steps: int, config: EnergyConfig) -> float:
    """Linear warm-up, then cosine decay (Loshchilov and Hutter 2017): the share of the peak rate at a step.

    Args:
        step: from 0 to total_steps - 1.
        total_steps: steps of the whole run; a run shorter than the warm-up only warms up.
        config: warm-up and final rate.
    """
    warmup = warmup_steps(total_steps, config)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    floor = config.final_learning_rate_ratio
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group of an optimizer its own rate, times a factor.

    Raises:
        ValueError: the factor, which a schedule gave, is not a finite number.
    """
    if not math.isfinite(factor):
        raise ValueError(f"the schedule gave {factor}; give a finite share of the peak rate")
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault(BASE_RATE, group["lr"]) * factor
