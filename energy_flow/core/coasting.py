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
    step before; in the first step everyone is, and in the first after `wake`.

    Args:
        lattice: the geometry.
        least: the change that keeps a flow awake must be larger.
    """

    def __init__(self, lattice: EnergyLattice, least: float) -> None:
        self._lattice, self._least = lattice, least
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
        changed = (state.columns - before).abs().amax(2) > self._least
        near = F.max_pool2d(changed.view(-1, 1, rows, columns).to(before.dtype), 3, stride=1, padding=1)
        return state, near.flatten().index_select(0, flows.sample * rows * columns + state.site) > 0
