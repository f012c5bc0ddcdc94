"""The carrier: what moves a flow through the lattice.

Shapes: `F` rows, `C` energy channels, `U` neuron output, `L` layers, `N` hidden size, `K` children.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import EnergyConfig
from .flow_pool import FlowPool
from .flows import Flows, level_of
from .gru import LayerWeights, StackedGRUCell
from .regroup import RegroupHidden, Regrouping

GATE_START = 5.0  # the gate of an untrained carrier is sigmoid(5) = 0.993: energy passes almost unchanged
CHILD_OFFSET_STD = 0.1  # children must differ from the start, or they would stay twins for ever
MOVE_SCALE = 0.1  # of the movement head; at 1 all flows ran into one site within 20 steps of training (LOG)
SHORTEST_STRIDE = 0.05  # softplus(b) where paths start one cell a step: rounds to nothing, but has a gradient


class CarrierOutput(NamedTuple):
    """What a carrier decides for its flow in one step."""

    energy_value: Tensor  # (F, C)  the energy after the step, before any split
    next_position: Tensor  # (F, 3)  relative: x and y in site spacings, z in cells (more than 1)
    spawn_energies: Tensor  # (F, K, C)  the energy that each child would take along
    spawn_count: Tensor  # (F,)  int64, children that the flow may start, before the budget
    spawn_shares: Tensor  # (F, K)  the share of energy and mass of each child; their sum is below 1
    spawn_levels: Tensor  # (F, K)  the level of each child that may start, -1 for one that may not; no gradient


class EnergyCarrier(nn.Module):
    """A GRU with shared weights and its heads: energy, movement, splits.

    All heads start at zero, so an untrained carrier sends every flow straight ahead, its energy almost unchanged.
    """

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        hidden, layers, children = config.carrier_hidden_size, config.carrier_num_layers, config.max_children
        self._widths = (config.energy_dim, config.energy_dim, 3, children)
        self.gru = StackedGRUCell(config.carrier_input_dim, hidden, layers)
        self.norm = nn.LayerNorm(hidden)
        self.heads = nn.Linear(hidden, sum(self._widths))  # gate, delta, move, split
        self.child_offset = nn.Parameter(torch.randn(layers, children, hidden) * CHILD_OFFSET_STD)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        stride = max(config.initial_jump - 1.0, SHORTEST_STRIDE)
        self._stride_bias = math.log(math.expm1(stride))  # softplus(bias) = stride

    def forward(
        self,
        neuron_output: Tensor,
        energy: Tensor,
        hidden: Tensor | None,
        weights: tuple[LayerWeights, ...] | None = None,
        pool: FlowPool | None = None,
    ) -> tuple[CarrierOutput, Tensor]:
        """Advance every flow by one step.

        Args:
            neuron_output: (F, U) signals of the neurons.
            energy: (F, C).
            hidden: (L, F, N); None is a state of zeros.
            weights: those of the GRU, where `gru.weights()` took them for a whole run.
            pool: of a run without gradients, where the hidden states are and are advanced in place.

        Returns:
            the structured output, and the new hidden states (L, F, N).
        """
        inputs = torch.cat((neuron_output, energy.to(neuron_output.dtype)), dim=1)
        hidden, top = self.gru(inputs, hidden, weights, pool)
        heads = self.heads(self.norm(top)).to(energy.dtype)
        gate, delta, move, split = heads.split(self._widths, dim=1)
        energy_value = torch.sigmoid(gate + GATE_START) * energy + delta
        shares = torch.sigmoid(split) / (self.config.max_children + 1)
        spawn_energies = shares.unsqueeze(2) * energy_value.unsqueeze(1)
        levels = self._spawn_levels(energy_value, spawn_energies)
        count = (levels >= 0).sum(1)
        return CarrierOutput(energy_value, self._stride(move), spawn_energies, count, shares, levels), hidden

    def can_spawn(self, energy_level: Tensor) -> Tensor:
        """(F,) levels to (F,) bool: strong enough to start children."""
        return energy_level >= self.config.spawn_threshold

    def spawn(self, parents: Flows, energy: Tensor, share: Tensor, flow_id: Tensor) -> Flows:
        """New carriers with part of their parents' energy, in the cells where the parents are.

        Args:
            parents: one row per child: the parent, with the hidden state that `hand_on` gives the child.
            energy: (F, C) each child's energy.
            share: (F,) each child's share of its parent's mass.
            flow_id: (F,) int64, the children's ids.
        """
        return parents._replace(
            energy=energy,
            mass=parents.mass * share.detach(),
            flow_id=flow_id,
            parent_id=parents.flow_id,
            age=torch.zeros_like(parents.age),
        )

    def hand_on(self, hidden: Tensor, group: Regrouping, pool: FlowPool | None = None) -> Tensor:
        """(L, F, N) hidden states after a step to those of survivors, then newborn; a child's is its parent's plus the
        learned offset of the first, second, ... child.
        """
        if pool is not None:
            return pool.hand_on(group, self.child_offset)
        after = RegroupHidden.apply(hidden, self.child_offset, group)
        assert isinstance(after, Tensor)
        return after

    def _spawn_levels(self, energy: Tensor, spawn_energies: Tensor) -> Tensor:
        """A child may start where its parent can spawn and it would not fade at once."""
        levels = level_of(spawn_energies)
        startable = self.can_spawn(level_of(energy)).unsqueeze(1) & (levels >= self.config.energy_threshold)
        return torch.where(startable, levels, -1.0)

    def _stride(self, move: Tensor) -> Tensor:
        move = move * MOVE_SCALE
        forward = 1 + F.softplus(move[:, 2:] + self._stride_bias)
        if self.config.max_jump is not None:
            forward = forward.clamp_max(self.config.max_jump)
        return torch.cat((move[:, :2], forward), dim=1)
