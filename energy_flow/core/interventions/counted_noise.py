"""Normal noise that follows from counters alone, the same on every device and in every order of the rows.

Shapes: `F` rows, `C` channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MULTIPLIERS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # splitmix64's, as signed numbers
SHIFTS = (30, 27, 31)
GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed number


def normal_of(seed: int, step: int, sample: Tensor, flow_id: Tensor, channels: int) -> Tensor:
    """(F, C) float64, a standard normal number for each flow and channel; float32 on MPS, which has no float64.

    Two uniform numbers of a hash (splitmix64: Steele, Lea and Flood, 2014, doi:10.1145/2660193.2660195) give one normal
    number by the method of Box and Muller.

    Args:
        seed: tells one noise from another.
        step: of the run.
        sample: (F,) int64.
        flow_id: (F,) int64.
        channels: C.
    """
    if sample.device.type == "mps":
        return normal_of(seed, step, sample.cpu(), flow_id.cpu(), channels).float().to(sample.device)
    channel = torch.arange(channels, device=sample.device)
    state = torch.full((), seed, dtype=torch.int64, device=sample.device)
    for counter in (torch.full_like(state, step), sample.unsqueeze(1), flow_id.unsqueeze(1), channel.unsqueeze(0)):
        state = _mixed(state + counter * GOLDEN)
    once = state + GOLDEN
    first, second = ((_mixed(one) >> 11 & (1 << 53) - 1).double() for one in (once, once + GOLDEN))
    radius = torch.sqrt(-2 * torch.log((first + 1) / 2**53))
    return radius * torch.cos(2 * math.pi * second / 2**53)


def _mixed(state: Tensor) -> Tensor:
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        state = (state ^ (state >> shift & (1 << 64 - shift) - 1)) * multiplier
    return state
