"""How a step changes the energy of a flow, in an open registry.

Shapes: `B` samples, `F` rows, `S` sites, `C` energy channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import ENERGY_RULES, EnergyConfig
from .flows import Flows


class EnergyRule:
    """From a flow's energy, and what the heads say, to its energy after the step.

    Attributes:
        gate_start: what is added to the gate of the heads, which are zeros before training.
        relaxes: whether there are energies that those of the flows relax towards (`toward`).

    Args:
        config: the configuration of the model; `gate_start`, where it has one, counts instead of the rule's own.
    """

    gate_start = 0.0
    relaxes = False

    def __init__(self, config: EnergyConfig) -> None:
        if config.gate_start is not None:
            self.gate_start = config.gate_start

    def toward(self, flows: Flows, site: Tensor | None) -> Tensor | None:
        """(F, C) the energies that those of the flows relax towards; None with a rule that has none.

        Args:
            flows: those that take the step.
            site: (F,) int64 where they stand; None where everyone stands at home, in the order of the launch.
        """
        return None

    def kept(self, gate: Tensor) -> Tensor:
        """(F, C) of the heads to (F, C): the share of its energy that a flow keeps."""
        return torch.sigmoid(gate + self.gate_start)

    def __call__(self, gate: Tensor, delta: Tensor, energy: Tensor, toward: Tensor | None) -> Tensor:
        """(F, C) of each to (F, C); with zeros for gate and delta, a flow at home keeps its energy, or almost."""
        raise NotImplementedError


@ENERGY_RULES.register("gated")
class Gated(EnergyRule):
    """`e' = sigmoid(gate + 5) e + delta`: an untrained carrier keeps 0.993 of the energy in a step."""

    gate_start = 5.0

    def __call__(self, gate: Tensor, delta: Tensor, energy: Tensor, toward: Tensor | None) -> Tensor:
        """(F, C) of each to (F, C)."""
        return torch.addcmul(delta, self.kept(gate), energy)


@ENERGY_RULES.register("kept")
class Kept(EnergyRule):
    """`e' = e`: what a flow was launched with is carried, and never changed."""

    def kept(self, gate: Tensor) -> Tensor:
        """(F, C) ones."""
        return torch.ones_like(gate)

    def __call__(self, gate: Tensor, delta: Tensor, energy: Tensor, toward: Tensor | None) -> Tensor:
        """(F, C) of each to (F, C)."""
        return energy


class Relaxing(EnergyRule):
    """`e' = g e + (1 - g) (toward + delta)` with `g = sigmoid(gate)`: bounded, however deep the lattice is."""

    relaxes = True

    def __call__(self, gate: Tensor, delta: Tensor, energy: Tensor, toward: Tensor | None) -> Tensor:
        """(F, C) of each to (F, C)."""
        assert toward is not None  # what `toward` gave
        return torch.lerp(toward + delta, energy, self.kept(gate))


@ENERGY_RULES.register("column")
class ToColumn(Relaxing):
    """Towards what entered at the column where the flow stands, changed by what the carrier adds."""

    def toward(self, flows: Flows, site: Tensor | None) -> Tensor:
        """(F, C)."""
        return flows.entered.flatten(0, 1) if site is None else flows.entered_at(site)


@ENERGY_RULES.register("origin")
class ToOrigin(Relaxing):
    """Towards what the flow was launched with, of which a child, and what remains of its parent, have their share."""

    def toward(self, flows: Flows, site: Tensor | None) -> Tensor:
        """(F, C)."""
        if site is None:
            return flows.entered.flatten(0, 1)
        own = flows.entered_at(flows.origin)
        return own * flows.mass.to(own.dtype).unsqueeze(1)
