"""The neuron: what a cell makes of a flow that passes through it.

Shapes: `F` rows, `C` energy channels, `P` perceived numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import PIECES, EnergyConfig
from .constants import seeded_start
from .flows import LatticeState
from .neighbourhood import neighbour_table
from .perceived import Piece, Seen, look_up


class SimpleNeuron(nn.Module):
    """One small network shared by all cells: what it perceives to the carrier's input.

    `forward(features)` is `Linear -> GELU -> Linear`; `compute_features` makes its input, from the pieces that the
    configuration names in `features`. With `neuron_gate` a second linear layer of what is perceived multiplies the
    signals before the last (a GLU, Shazeer 2020), so that one thing perceived may choose what is made of another. Its
    weights follow from `config.seed`.
    """

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self._sites = config.sites
        with seeded_start(config.seed, "neuron") as device:
            self.pieces = nn.ModuleList(_build_piece(name, config) for name in config.features)
            self.input_dim = sum(piece.width for piece in self.perceived)
            self.perceive = nn.Linear(self.input_dim, config.neuron_hidden_dim)
            self.project = nn.Linear(config.neuron_hidden_dim, config.neuron_output_dim)
            self.gate = nn.Linear(self.input_dim, config.neuron_hidden_dim) if config.neuron_gate else None
        self.to(device)

    @property
    def perceived(self) -> list[Piece]:
        """The pieces, in the order of the configuration."""
        return list(self.pieces)  # type: ignore[arg-type]

    @property
    def neighbours(self) -> Tensor:
        """(S, 9) int64 the sites around each site, row by row, itself in the middle; S stands for "beyond the face"."""
        return neighbour_table(*self._sites)

    def compute_features(self, position: Tensor, energy: Tensor, lattice_state: LatticeState) -> Tensor:
        """Gather what the neuron perceives.

        Args:
            position: (F, 3) cells.
            energy: (F, C).
            lattice_state: what all flows hold, from `EnergyLattice.perceive`.

        Returns:
            (F, P): each flow's row of every piece, side by side.
        """
        seen = Seen(position, energy, lattice_state)
        rows = [look_up(piece, piece(seen), lattice_state) for piece in self.perceived]
        return torch.cat([row.to(energy.dtype) for row in rows], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(F, P) features to (F, neuron_output_dim) signals for the carrier."""
        signal = gelu(self.perceive(features))
        return self.project(signal if self.gate is None else signal * self.gate(features))


def _build_piece(name: str, config: EnergyConfig) -> Piece:
    piece = PIECES[name](config)
    if not isinstance(piece, Piece):
        raise ValueError(f"features = {name!r}; it builds a {type(piece).__name__}: let its class inherit from Piece")
    return piece


def gelu(inputs: Tensor) -> Tensor:
    """The exact GELU (Hendrycks and Gimpel 2016), x times the normal distribution function of x.

    Written out because torch's own caches compiled code for every number of rows on a CPU, and rows come and go:
    the resident memory grew by 100 MiB in 400 training steps (LOG).
    """
    return inputs * (0.5 * (1 + torch.erf(inputs * math.sqrt(0.5))))
