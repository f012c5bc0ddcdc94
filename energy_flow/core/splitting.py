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

    asked: Tensor  # (F, K)  bool, children that could have started but for the budget
    accepted: Tensor  # (F, K)  bool, those of them that start
    flow_id: Tensor  # (F, K)  int64, the id of each child that starts
    next_id: Tensor  # (B,)  int64, the id of the sample's next child after this step
    refused: Tensor  # (B,)  int64, those that the budget refused


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
        return SplitPlan(nobody, nobody, nobody.long(), flows.next_id, torch.zeros_like(flows.next_id))
    newborn = (flows.age == 0) & (flows.parent_id >= 0)
    eligible = (spawn_levels >= 0) & ~newborn.unsqueeze(1)
    rank = _rank_in_sample(flows, torch.where(eligible, spawn_levels, -1.0))
    room = most_flows - count_per_sample(flows.sample, flows.batch)
    limit = room.clamp(0, config.max_spawn_per_step)
    accepted = eligible & (rank < limit.index_select(0, flows.sample).unsqueeze(1))
    flow_id = flows.next_id.index_select(0, flows.sample).unsqueeze(1) + rank
    wanted = count_per_sample(flows.sample, flows.batch, eligible.sum(1))
    started = torch.minimum(wanted, limit)
    return SplitPlan(eligible, accepted, flow_id, flows.next_id + started, wanted - started)


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
    rows, children = strength.shape
    by_id = flows.flow_id.argsort(stable=True)
    strength, sample = strength.index_select(0, by_id), flows.sample.index_select(0, by_id)
    order = _strongest_first(strength.flatten(), sample.repeat_interleave(children, output_size=rows * children))
    per_sample = children * count_per_sample(sample, flows.batch)
    start = (per_sample.cumsum(0) - per_sample).index_select(0, sample)
    places = torch.arange(rows * children, device=sample.device)
    rank = torch.empty_like(places).scatter(0, order, places).view(rows, children) - start.unsqueeze(1)
    return torch.empty_like(rank).index_copy(0, by_id, rank)


def _strongest_first(strength: Tensor, sample: Tensor) -> Tensor:
    """(n,) int64 the order by sample, then by strength (-1, or 0 and more), the strongest first; ties stay."""
    if strength.dtype == torch.float32:  # the bits of such numbers sort as they do: one sort of whole numbers
        descending = 2**31 - 1 - torch.where(strength < 0, -1, strength.view(torch.int32).long())
        return (sample * 2**32 + descending).argsort(stable=True)
    order = (-strength).argsort(stable=True)  # stable sorts, the most important key last
    return order[sample.index_select(0, order).argsort(stable=True)]
