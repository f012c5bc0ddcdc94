"""What a neuron perceives: named pieces in an open registry, one small module each.

Shapes: `F` rows, `B` samples, `S` sites (columns x rows, row by row), `C` energy channels, `w` width of a piece.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import PIECES, EnergyConfig
from .constants import Constant
from .flows import LatticeState
from .harmonics import harmonics, harmonics_width, waves, waves_width


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
    sees_far: ClassVar[bool] = False  # whether it depends on more than the 3 x 3 columns around the flow
    width: int

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def products(self) -> int:
        """Multiplications of weights or rows that the piece itself takes for one flow in one step."""
        return 0

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
    sees_far = True

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
        self.chosen = Constant(torch.tensor(self.places, device="cpu"))

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, n (C + 1)) of n places."""
        batch, sites, _ = seen.state.columns.shape
        padded = F.pad(seen.state.columns, (0, 0, 0, 1))  # one column of zeros, which stands for "beyond the face"
        around = seen.state.lattice.around.like(padded).index_select(1, self.chosen.like(padded))
        return padded.index_select(1, around.flatten()).view(batch, sites, self.width)


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


@PIECES.register("harmonics")
class Harmonics(Piece):
    """Where the flow stands on the face, as products of cosines: a linear layer can tell every site apart."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = harmonics_width(config.place_harmonics)

    def forward(self, seen: Seen) -> Tensor:
        """(F, w)."""
        return harmonics(seen.position[:, :2], seen.state.lattice, self.config.place_harmonics)


class Exchange(Piece):
    """What a site column asks of all columns of its sample, wherever they are.

    Query and key of a column come from the waves of its place and its mean energy, the value from its energy. A
    column counts by its mass, so that empty ones are not asked, and the order of the rows does not matter. Queries
    start from the place alone: what a column holds is noise to its question until it is learned what it means.
    """

    of = "site"
    sees_far = True

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = config.exchange_dim
        places = waves_width(config.place_harmonics)
        self.query = nn.Linear(places + config.energy_dim, config.exchange_dim)
        self.key = nn.Linear(places + config.energy_dim, config.exchange_dim)
        self.value = nn.Linear(config.energy_dim, config.exchange_dim)
        with torch.no_grad():
            self.query.weight[:, places:].zero_()

    @property
    def products(self) -> int:
        """Those of queries, keys and values, and of what every column asks."""
        return sum(layer.weight.numel() for layer in (self.query, self.key, self.value)) + self.asking

    @property
    def asking(self) -> int:
        """Products of one column's question."""
        raise NotImplementedError

    def asked(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, h, S, w / h) queries, keys and values of h heads, and (B, 1, 1, S) the mass of the columns."""
        lattice, columns = seen.state.lattice, seen.state.columns
        energy = columns[..., :-1].to(self.query.weight.dtype)
        nodes = lattice.launch.like(seen.position)[:, :2]
        places = waves(nodes, lattice, self.config.place_harmonics).to(energy.dtype)
        known = torch.cat((places.expand(energy.shape[0], -1, -1), energy), dim=2)
        mass = columns[..., -1].unsqueeze(1).unsqueeze(1).to(energy.dtype)
        query, key, value = self.query(known), self.key(known), self.value(energy)
        return self._heads(query), self._heads(key), self._heads(value), mass

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.unflatten(2, (self.config.exchange_heads, -1)).transpose(1, 2)

    @staticmethod
    def together(heads: Tensor) -> Tensor:
        """(B, h, S, w / h) to (B, S, w)."""
        return heads.transpose(1, 2).flatten(2)


@PIECES.register("attention")
class Attention(Exchange):
    """Softmax attention over the columns (Vaswani et al. 2017): S^2 products a step."""

    @property
    def asking(self) -> int:
        """With every column's key, and of every column's value."""
        return 2 * self.config.num_sites * self.width

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, w)."""
        query, key, value, mass = self.asked(seen)
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        weights = torch.softmax(scores.masked_fill(mass == 0, torch.finfo(scores.dtype).min), dim=3) * mass
        return self.together(weights @ value / _not_zero(weights.sum(3, keepdim=True)))


@PIECES.register("associative")
class Associative(Exchange):
    """Linear attention over the columns (Katharopoulos et al. 2020), with elu + 1: the work grows with S, not S^2."""

    @property
    def asking(self) -> int:
        """To the sum of key times value, and from it."""
        return 2 * self.width * self.width // self.config.exchange_heads

    def forward(self, seen: Seen) -> Tensor:
        """(B, S, w)."""
        query, key, value, mass = self.asked(seen)
        query, key = F.elu(query) + 1, (F.elu(key) + 1) * mass.transpose(2, 3)
        total = query @ key.sum(2).unsqueeze(3)
        return self.together(query @ (key.transpose(2, 3) @ value) / _not_zero(total))


def _not_zero(total: Tensor) -> Tensor:
    """The sum of weights to divide by; that of a sample without a live flow is 0, and nobody looks at it."""
    return total.clamp_min(torch.finfo(total.dtype).tiny)


def look_up(piece: Piece, table: Tensor, state: LatticeState) -> Tensor:
    """(F, ...) each flow's row of a piece's table, or of its product."""
    if piece.of == "flow":
        return table
    if piece.of == "sample":
        return table.index_select(0, state.sample)
    return table.flatten(0, 1).index_select(0, state.sample * table.shape[1] + state.site)
