"""Flows around which nothing changes any more: they go ahead as they are, and cost nearly nothing.

Shapes: `B` samples, `F` rows, `A` rows that are awake, `S` sites (columns x rows, row by row), `C` energy channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .energy_lattice import EnergyLattice
from .flows import Flows, LatticeState


class Coasting:
    """Knows, from step to step of one run, where something changes.

    A flow is awake while a number of the 3 x 3 site columns around it, its own among them, has changed enough since the
    step before; where neurons see farther, while any column of its sample has. Everyone is awake in the first step, in
    the first after `wake`, and in the step that would bring them to the output face.

    Args:
        lattice: the geometry.
        least: the change that keeps a flow awake must be larger.
        sees_far: whether neurons see more than the columns around them.
    """

    def __init__(self, lattice: EnergyLattice, least: float, sees_far: bool) -> None:
        self._lattice, self._least, self._sees_far = lattice, least, sees_far
        self._before: Tensor | None = None  # (B, S, C + 1)

    def wake(self) -> None:
        """Something else changed than what flows hold, such as what has entered: in the next step everyone is awake."""
        self._before = None

    def awake(self, flows: Flows) -> tuple[LatticeState, Tensor]:
        """What all flows hold, and (F,) bool, who is awake."""
        state, before = self._lattice.perceive(flows), self._before
        self._before = state.columns
        if before is None:
            return state, torch.ones_like(flows.sample, dtype=torch.bool)
        columns, rows = self._lattice.config.sites
        changed = (state.columns - before).abs().amax(2) > self._least  # (B, S)
        if self._sees_far:
            near = changed.any(1, keepdim=True).expand(-1, rows * columns)
        else:
            marks = changed.view(-1, 1, rows, columns).to(before.dtype)
            near = F.max_pool2d(marks, 3, stride=1, padding=1).flatten(1) > 0
        arrives = flows.position[:, 2] + self._lattice.stride >= self._lattice.config.lattice_depth - 1
        return state, arrives | near.flatten().index_select(0, flows.sample * rows * columns + state.site)
