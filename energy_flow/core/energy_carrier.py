"""The carrier: what moves a flow through the lattice.

Shapes: `F` rows, `C` energy channels, `U` neuron output, `L` layers, `N` hidden size, `K` children, `M` numbers of the
mover's head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import ENERGY_RULES, MOVERS, EnergyConfig
from .flows import Flows, Place, level_of
from .gru import StackedGRUCell
from .movers import Aimed

CHILD_OFFSET_STD = 0.1  # children must differ from the start, or they would stay twins for ever


class CarrierOutput(NamedTuple):
    """What a carrier decides for its flow in one step."""

    energy_value: Tensor  # (F, C)  the energy after the step, before any split
    next_position: Tensor  # (F, 3)  cells: where the flow goes, before the lattice keeps it inside
    spawn_energies: Tensor  # (F, K, C)  the energy that each child would take along
    spawn_shares: Tensor  # (F, K)  the share of energy and mass of each child; their sum is below 1
    spawn_levels: Tensor  # (F, K)  the level of each child that may start, -1 for one that may not; no gradient
    aim: Tensor | None = None  # (F, S)  with a pointer: what it gives to each site

    @property
    def spawn_count(self) -> Tensor:
        """(F,) int64 children that the flow may start, before the budget; for people who look at a step."""
        return (self.spawn_levels >= 0).sum(1)


class EnergyCarrier(nn.Module):
    """A GRU with shared weights and its heads: energy, movement, splits.

    All heads start at zero, so an untrained carrier sends every flow straight ahead, its energy almost unchanged; but
    for a mover that asks for a random start.
    """

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        hidden, layers, children = config.carrier_hidden_size, config.carrier_num_layers, config.max_children
        self.gru = StackedGRUCell(config.carrier_input_dim, hidden, layers)
        self.norm = nn.LayerNorm(hidden)
        self.mover = MOVERS[config.mover](config)
        self.rule = ENERGY_RULES[config.energy_rule](config)
        self._widths = (config.energy_dim, config.energy_dim, self.mover.width, children)
        self.heads = nn.Linear(hidden, sum(self._widths))  # gate, delta, move, split
        self.child_offset = nn.Parameter(torch.randn(layers, children, hidden) * CHILD_OFFSET_STD)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        if self.mover.starts_random:
            move = slice(2 * config.energy_dim, 2 * config.energy_dim + self.mover.width)
            with torch.no_grad():
                for part in (self.heads.weight[move], self.heads.bias[move]):
                    part.uniform_(-(hidden**-0.5), hidden**-0.5)

    @property
    def may_leave_column(self) -> bool:
        """Whether flows may move sideways."""
        return self.mover.sideways

    def forward(
        self, neuron_output: Tensor, energy: Tensor, hidden: Tensor, place: Place
    ) -> tuple[CarrierOutput, Tensor]:
        """Advance every flow by one step.

        Args:
            neuron_output: (F, U) signals of the neurons.
            energy: (F, C).
            hidden: (L, F, N).
            place: where they stand.

        Returns:
            the structured output, and the new hidden states (L, F, N).
        """
        inputs = neuron_output
        if self.config.carrier_reads_energy:
            inputs = torch.cat((neuron_output, energy.to(neuron_output.dtype)), dim=1)
        hidden, top = self.gru(inputs, hidden)
        return self.decide(top, energy, place), hidden

    def decide(self, top: Tensor, energy: Tensor, place: Place) -> CarrierOutput:
        """From the GRU's output to energy, movement and splits.

        Args:
            top: (F, N) hidden states of the last layer.
            energy: (F, C) before the step.
            place: where the flows stand.
        """
        return self.act(self.heads(self.norm(top)).to(energy.dtype), energy, place)

    def gate(self, top: Tensor) -> Tensor:
        """(F, N) hidden states of the last layer after a step to (F, C): the share of its energy that a flow keeps."""
        return self.rule.kept(self.heads(self.norm(top))[:, : self.config.energy_dim])

    def act(self, heads: Tensor, energy: Tensor, place: Place) -> CarrierOutput:
        """From the heads to energy, movement and splits.

        Args:
            heads: (F, 2 C + M + K): gate, delta, move, split; zeros at the start of training.
            energy: (F, C) before the step.
            place: where the flows stand.
        """
        gate, delta, move, split = heads.split(self._widths, dim=1)
        energy_value = self.rule(gate, delta, energy, place.toward)
        shares = torch.sigmoid(split) / (self.config.max_children + 1)
        moved = self.mover(move, place)
        position, aim = moved if isinstance(moved, Aimed) else (moved, None)
        return self.output_of(energy_value, position, shares, aim)

    def output_of(
        self, energy_value: Tensor, next_position: Tensor, shares: Tensor, aim: Tensor | None = None
    ) -> CarrierOutput:
        """The structured output: what each child would take along, and whether it may start.

        Args:
            energy_value: (F, C) after the step.
            next_position: (F, 3) cells.
            shares: (F, K) of energy and mass, for each child.
            aim: (F, S) what each flow would give to every site, where the mover says it.
        """
        if not self.config.can_split:
            nothing = energy_value.detach().new_empty(shares.shape[0], 0, energy_value.shape[1])
            return CarrierOutput(energy_value, next_position, nothing, shares, shares.detach(), aim)
        spawn_energies = shares.unsqueeze(2) * energy_value.unsqueeze(1)
        levels = self._spawn_levels(energy_value, spawn_energies)
        return CarrierOutput(energy_value, next_position, spawn_energies, shares, levels, aim)

    def can_spawn(self, energy_level: Tensor) -> Tensor:
        """(F,) levels to (F,) bool: strong enough to start children."""
        return energy_level >= self.config.spawn_threshold

    def spawn(self, parents: Flows, energy: Tensor, share: Tensor, flow_id: Tensor) -> Flows:
        """New carriers with part of their parents' energy, in the cells where the parents are.

        Args:
            parents: one row per child: the parent, with the hidden state that `child_states` gives the child.
            energy: (F, C) each child's energy.
            share: (F,) each child's share of its parent's mass.
            flow_id: (F,) int64, the children's ids.
        """
        return parents._replace(
            energy=energy,
            mass=parents.mass * share.detach().to(parents.mass.dtype),
            flow_id=flow_id,
            parent_id=parents.flow_id,
            age=torch.zeros_like(parents.age),
        )

    def child_states(self, parent_states: Tensor, child: Tensor) -> Tensor:
        """The hidden states with which children begin: their parents', plus the learned offset of a first, second, ...
        child.

        Args:
            parent_states: (L, M, N) of each child's parent, after its step.
            child: (M,) int64, which of its parent's K children each is.
        """
        return parent_states + self.child_offset.index_select(1, child).to(parent_states.dtype)

    def _spawn_levels(self, energy: Tensor, spawn_energies: Tensor) -> Tensor:
        """A child may start where its parent can spawn and it would not fade at once."""
        levels = level_of(spawn_energies)
        startable = self.can_spawn(level_of(energy)).unsqueeze(1) & (levels >= self.config.energy_threshold)
        return torch.where(startable, levels, -1.0)
