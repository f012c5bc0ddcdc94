"""Which children start: the budget, planned in integers before any energy is split.

Shapes: `F` rows, `K` children, `B` samples.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import EnergyConfig
from .flows import Flows


class SplitPlan(NamedTuple):
    """The children that start in a step."""

    accepted: Tensor  # (F, K)  bool
    flow_id: Tensor  # (F, K)  int64, the id of each child that starts
    next_id: Tensor  # (B,)  int64, the id of the sample's next child after this step
    refused: Tensor  # (B,)  int64, children that could have started but for the budget


def plan_splits(flows: Flows, spawn_levels: Tensor, config: EnergyConfig, most_flows: int) -> SplitPlan:
    """Choose the strongest children that the budget allows; ties go by flow id, then by child.

    A newborn flow does not split in its first step. In a sample at most `max_spawn_per_step` children start, and no
    more than there is room for beside the flows with which the step began.

    Args:
        flows: the flows at the start of the step.
        spawn_levels: (F, K) the level of each child that may start, -1 for one that may not.
        config: the budget for a step.
        most_flows: the budget of a sample, at most `max_active_flows`.
    """
    if not config.can_split:
        nobody = spawn_levels >= 0  # (F, 0)
        return SplitPlan(nobody, nobody.long(), flows.next_id, torch.zeros_like(flows.next_id))
    newborn = (flows.age == 0) & (flows.parent_id >= 0)
    eligible = (spawn_levels >= 0) & ~newborn.unsqueeze(1)
    rank = _rank_in_sample(flows, torch.where(eligible, spawn_levels, -1.0))
    room = most_flows - count_per_sample(flows.sample, flows.batch)
    limit = room.clamp(0, config.max_spawn_per_step)
    accepted = eligible & (rank < limit.index_select(0, flows.sample).unsqueeze(1))
    flow_id = flows.next_id.index_select(0, flows.sample).unsqueeze(1) + rank
    wanted = count_per_sample(flows.sample, flows.batch, eligible.sum(1))
    started = torch.minimum(wanted, limit)
    return SplitPlan(accepted, flow_id, flows.next_id + started, wanted - started)


def keep_rest(energy: Tensor, mass: Tensor, shares: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """What is left to the parents: all that their children do not take, so that a split conserves energy and mass.

    Args:
        energy: (F, C) before the split.
        mass: (F,) likewise.
        shares: (F, K) of each child that may start.
        accepted: (F, K) bool, which of them start.
    """
    if not shares.shape[1]:
        return energy, mass
    kept = 1 - (shares * accepted).sum(1)
    return energy * kept.unsqueeze(1), mass * kept.detach().to(mass.dtype)


def count_per_sample(sample: Tensor, batch: int, counts: Tensor | None = None) -> Tensor:
    """(F,) counts, or ones, added up per sample: (B,) int64."""
    counts = torch.ones_like(sample) if counts is None else counts
    return sample.new_zeros(batch).index_add(0, sample, counts)


def _rank_in_sample(flows: Flows, strength: Tensor) -> Tensor:
    """(F, K) int64: the place of each child in its sample, strongest first, ties by flow id and child."""
    children = strength.shape[1]
    sample = flows.sample.repeat_interleave(children)
    order = flows.flow_id.repeat_interleave(children).argsort(stable=True)
    for key in (-strength.flatten(), sample):  # stable sorts, the most important key last
        order = order[key[order].argsort(stable=True)]
    per_sample = count_per_sample(sample, flows.batch)
    start = per_sample.cumsum(0) - per_sample
    place = torch.arange(len(sample), device=sample.device) - start[sample[order]]
    return torch.empty_like(place).scatter(0, order, place).view(strength.shape)
