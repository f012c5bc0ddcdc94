"""Where flows may not go.

Shapes: `F` rows, `K` what is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..energy_carrier import CarrierOutput
from ..energy_lattice import EnergyLattice
from ..flows import FADED, Flows
from ..readers import nearest_cell
from .intervention import Intervention, Moment, ahead, extent_of, require_within

Otherwise = Literal["fade", "straight"]


@dataclass(frozen=True, kw_only=True)
class Barrier(Intervention):
    """Where flows may not go. A flow that would fades; or it goes straight ahead, and fades where that is barred too.

    Attributes:
        otherwise: `fade` or `straight`.
    """

    otherwise: Otherwise = "fade"

    moves: ClassVar[bool] = True

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        if self.otherwise not in ("fade", "straight"):
            raise ValueError(f"otherwise = {self.otherwise!r}; give fade or straight")

    def hits(self, moment: Moment, position: Tensor) -> Tensor:
        """(F, 3) places to which flows would go to (F,) bool: which are barred."""
        raise NotImplementedError

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        if self.otherwise == "fade":
            return output
        barred = self.hits(moment, moment.lattice.settle(output.next_position.detach())) & self.who(moment)
        return output._replace(next_position=torch.where(barred.unsqueeze(1), ahead(moment), output.next_position))

    def land(self, moment: Moment, moved: Flows, outcome: Tensor) -> Tensor:
        """As `Intervention.land`."""
        barred = self.hits(moment, moved.position.detach()) & self.who(moment)
        return torch.where(barred, FADED, outcome)


@dataclass(frozen=True)
class BlockCells(Barrier):
    """Cells that no flow may enter.

    Attributes:
        cells: (K, 3) x, y, z.
    """

    cells: Sequence[Sequence[int]] | Tensor

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        _require_table("cells", self.cells, [*extent_of(lattice)], "x, y, z")

    def hits(self, moment: Moment, position: Tensor) -> Tensor:
        """(F,) bool."""
        width, height, _ = extent_of(moment.lattice)
        size = torch.tensor([1, width, width * height], device=position.device)
        own = (nearest_cell(position).long() * size).sum(1)
        return torch.isin(own, (_table(self.cells, 3).to(position.device) * size).sum(1))


@dataclass(frozen=True)
class BlockEdges(Barrier):
    """Moves from one site column and plane to another that no flow may take.

    Attributes:
        edges: (K, 4) site from, z from, site to, z to.
    """

    edges: Sequence[Sequence[int]] | Tensor

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        sites, depth = lattice.config.num_sites, lattice.config.lattice_depth
        _require_table("edges", self.edges, [sites, depth, sites, depth], "site from, z from, site to, z to")

    def hits(self, moment: Moment, position: Tensor) -> Tensor:
        """(F,) bool."""
        own = edges_of(moment.flows.position, position, moment.lattice)
        size = _edge_size(moment.lattice, position.device)
        return torch.isin((own * size).sum(1), (_table(self.edges, 4).to(position.device) * size).sum(1))


@dataclass(frozen=True)
class BlockPlanes(Barrier):
    """Planes across the box that no flow may enter or jump over.

    Attributes:
        planes: z of each.
    """

    planes: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep_whole_numbers("planes")

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        require_within("planes", self.planes, 1, lattice.config.lattice_depth, "planes behind the input face")

    def hits(self, moment: Moment, position: Tensor) -> Tensor:
        """(F,) bool."""
        planes = torch.as_tensor(list(self.planes), device=position.device, dtype=position.dtype)
        before, after = moment.flows.position[:, 2:], position[:, 2:]
        return ((before < planes) & (planes <= after)).any(1)


def edges_of(before: Tensor, after: Tensor, lattice: EnergyLattice) -> Tensor:
    """The moves of (F, 3) places to (F, 3) places: (F, 4) int64 site from, z from, site to, z to."""
    ends = [(lattice.site_of(place), nearest_cell(place)[:, 2].long()) for place in (before, after)]
    return torch.stack([part for end in ends for part in end], dim=1)


def _edge_size(lattice: EnergyLattice, device: torch.device) -> Tensor:
    sites, depth = lattice.config.num_sites, lattice.config.lattice_depth
    return torch.tensor([depth * sites * depth, sites * depth, depth, 1], device=device)


def _table(rows: Sequence[Sequence[int]] | Tensor, width: int) -> Tensor:
    return torch.as_tensor(rows, dtype=torch.int64).view(-1, width)


def _require_table(name: str, rows: Sequence[Sequence[int]] | Tensor, sizes: Sequence[int], what: str) -> None:
    table = torch.as_tensor(rows)
    if table.numel() and (table.dim() != 2 or table.shape[1] != len(sizes) or table.is_floating_point()):
        raise ValueError(f"{name} has shape {tuple(table.shape)} and dtype {table.dtype}; give whole numbers {what}")
    for row in table.tolist():
        if not all(0 <= number < size for number, size in zip(row, sizes, strict=True)):
            raise ValueError(f"{name} has {row}; give {what} within {tuple(sizes)}")
