"""What a neuron perceives: named pieces in an open registry, one small module each.

Shapes: `F` rows, `B` samples, `S` sites (columns x rows, row by row), `C` energy channels, `w` width of a piece.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import PIECES, EnergyConfig
from .flows import LatticeState


class Seen(NamedTuple):
    """What a piece may look at."""

    position: Tensor  # (F, 3)  cells
    energy: Tensor  # (F, C)
    state: LatticeState  # what all flows hold


class Piece(nn.Module):
    """A part of what a neuron perceives.

    A piece says what it is a table of: a row for each flow, for each site column, or for each sample. The neuron
    looks a flow's row up in it, so that a table of sites is computed once for all flows of a column.

    Args:
        config: the configuration of the model.
    """

    of: ClassVar[Literal["flow", "site", "sample"]] = "flow"
    width: int

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, seen: Seen) -> Tensor:
        """(F, w), (B, S, w) or (B, w), as `of` says."""
        raise NotImplementedError


@PIECES.register("coordinates")
class Coordinates(Piece):
    """The flow's cell, every axis scaled to [-1, 1]."""

    width = 3

    def forward(self, seen: Seen) -> Tensor:
        """(F, 3)."""
        return seen.position / seen.state.lattice.half_extent.like(seen.position) - 1


@PIECES.register("relative")
class Relative(Piece):
    """Where the flow stands in its site's patch, and how near the four borders are: the same in a face of any size.

    The offset from the site's node is in halves of a site spacing, the distance to each border in sites, at most 2.
    """

    width = 6

    def forward(self, seen: Seen) -> Tensor:
        """(F, 6): offset along x and y; distance to the left, lower, right and upper border."""
        lattice, position = seen.state.lattice, seen.position
        spacing, across = lattice.spacing.like(position), position[:, :2]
        node = lattice.launch.like(position)[:, :2].index_select(0, seen.state.site)
        before, after = across / spacing, (lattice.last.like(position)[:2] - across) / spacing
        return torch.cat((2 * (across - node) / spacing, torch.cat((before, after), dim=1).clamp_max(2)), dim=1)


@PIECES.register("energy")
class Energy(Piece):
    """The flow's own energy."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = config.energy_dim

    def forward(self, seen: Seen) -> Tensor:
        """(F, C)."""
        return seen.energy


@PIECES.register("sample")
class Sample(Piece):
    """Mean energy of the whole sample, and its mass per site."""

    of = "sample"

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = config.energy_dim + 1

    def forward(self, seen: Seen) -> Tensor:
        """(B, C + 1)."""
        return seen.state.whole


@PIECES.register("site")
class Site(Piece):
    """Mean energy and mass of the flow's site column."""

    of = "site"

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = config.energy_dim + 1

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, C + 1)."""
        return seen.state.columns


@PIECES.register("neighbours")
class Neighbours(Piece):
    """Mean energy and mass of the 3 x 3 site columns around the flow, row by row; zeros beyond the face."""

    of = "site"
    places: ClassVar[tuple[int, ...]] = tuple(range(9))  # of the 3 x 3 columns, row by row

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = len(self.places) * (config.energy_dim + 1)

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, n (C + 1)) of n places."""
        batch, sites, _ = seen.state.columns.shape
        padded = F.pad(seen.state.columns, (0, 0, 0, 1))  # one column of zeros, which stands for "beyond the face"
        around = seen.state.lattice.around.like(padded)[:, self.places].flatten()
        return padded.index_select(1, around).view(batch, sites, self.width)


@PIECES.register("cross")
class Cross(Neighbours):
    """Mean energy and mass of the flow's own site column and of the four that share an edge with it, row by row."""

    places = (1, 3, 4, 5, 7)


@PIECES.register("recall")
class Recall(Piece):
    """What entered at the column where the flow stands: the part of the input embedding, perceived at every step."""

    of = "site"

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = config.energy_dim

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, C)."""
        return seen.state.entered


def look_up(piece: Piece, table: Tensor, state: LatticeState) -> Tensor:
    """(F, ...) each flow's row of a piece's table, or of its product."""
    if piece.of == "flow":
        return table
    if piece.of == "sample":
        return table.index_select(0, state.sample)
    return table.flatten(0, 1).index_select(0, state.sample * table.shape[1] + state.site)
