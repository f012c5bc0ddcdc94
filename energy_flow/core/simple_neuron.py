"""The neuron: what a cell makes of a flow that passes through it.

Shapes: `F` rows, `C` energy channels, `P` perceived numbers (3 + C + lattice-state features).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from .features import FEATURES, neighbour_table
from .flows import LatticeState


class SimpleNeuron(nn.Module):
    """One small network shared by all cells: coordinates, energy and surroundings to the carrier's input.

    `forward(features)` is `Linear -> GELU -> Linear`; `compute_features` makes its input.
    """

    half_extent: Tensor
    neighbours: Tensor

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self._features = FEATURES[config.features]
        self.input_dim = 3 + config.energy_dim + self._features.blocks * (config.energy_dim + 1)
        self.perceive = nn.Linear(self.input_dim, config.neuron_hidden_dim)
        self.project = nn.Linear(config.neuron_hidden_dim, config.neuron_output_dim)
        extent = torch.tensor([config.lattice_width, config.lattice_height, config.lattice_depth]) - 1
        self.register_buffer("half_extent", extent.clamp_min(1) / 2, persistent=False)
        self.register_buffer("neighbours", neighbour_table(*config.sites), persistent=False)

    def compute_features(self, position: Tensor, energy: Tensor, lattice_state: LatticeState) -> Tensor:
        """Gather what the neuron perceives.

        Args:
            position: (F, 3) cells.
            energy: (F, C).
            lattice_state: what all flows hold, from `EnergyLattice.perceive`.

        Returns:
            (F, P): coordinates scaled to [-1, 1], energy, lattice-state features.
        """
        coordinates = position / self.half_extent - 1
        return torch.cat((coordinates, energy, self._features.gather(lattice_state, self.neighbours)), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(F, P) features to (F, neuron_output_dim) signals for the carrier."""
        return self.project(gelu(self.perceive(features)))


def gelu(inputs: Tensor) -> Tensor:
    """The exact GELU (Hendrycks and Gimpel 2016), x times the normal distribution function of x.

    Written out because torch's own caches compiled code for every number of rows on a CPU, and rows come and go:
    the resident memory grew by 100 MiB in 400 training steps (LOG).
    """
    return inputs * (0.5 * (1 + torch.erf(inputs * math.sqrt(0.5))))
