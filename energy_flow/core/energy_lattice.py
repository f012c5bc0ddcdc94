"""The lattice: geometry, the faces' sites, and sums over them. It has no weights and holds no state.

Shapes: `B` samples, `F` rows, `S` sites (columns x rows, row by row), `C` energy channels, `W H D` cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from .flows import MOVING, Arrivals, Flows, LatticeState


class EnergyLattice(nn.Module):
    """A box of W x H x D cells whose faces at z = 0 and z = D - 1 are divided into equal patches, the sites.

    A site's node is the cell nearest to the middle of its patch. Flows start at nodes, and the output is read
    by bilinear interpolation between nodes: a flow that goes straight ahead reaches its own site alone.
    """

    nodes_x: Tensor
    nodes_y: Tensor
    launch: Tensor

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        columns, rows = config.sites
        self._last = (config.lattice_width - 1, config.lattice_height - 1, config.lattice_depth - 1)
        self._spacing = (config.lattice_width / columns, config.lattice_height / rows)
        nodes_x, nodes_y = site_nodes(config.lattice_width, columns), site_nodes(config.lattice_height, rows)
        grid_y, grid_x = torch.meshgrid(nodes_y, nodes_x, indexing="ij")
        launch = torch.stack((grid_x, grid_y, torch.zeros_like(grid_x)), dim=-1).view(-1, 3)
        self.register_buffer("nodes_x", nodes_x, persistent=False)
        self.register_buffer("nodes_y", nodes_y, persistent=False)
        self.register_buffer("launch", launch, persistent=False)

    def place_initial_energy(self, embeddings: Tensor) -> Flows:
        """Start one flow per site on the input face.

        Args:
            embeddings: (B, S, C) energies of the sites, from `EmbeddingMapper.to_sites`.

        Returns:
            B * S flows, sample by sample in the order of the sites, with mass 1 and hidden state 0.
        """
        batch, sites, channels = embeddings.shape
        flow_id = torch.arange(sites, device=embeddings.device).repeat(batch)
        zeros = torch.zeros_like(flow_id)
        return Flows(
            energy=embeddings.reshape(batch * sites, channels),
            mass=embeddings.new_ones(batch * sites),
            position=self.launch.repeat(batch, 1),
            hidden=embeddings.new_zeros(self.config.carrier_num_layers, batch * sites, self.config.carrier_hidden_size),
            sample=torch.arange(batch, device=embeddings.device).repeat_interleave(sites),
            flow_id=flow_id,
            parent_id=zeros - 1,
            age=zeros,
            next_id=torch.full((batch,), sites, device=embeddings.device),
        )

    def get_active_flows(self, flows: Flows, outcome: Tensor) -> Flows:
        """The rows that are still inside the lattice, in their order; `outcome` is (F,) int64."""
        return flows.rows((outcome == MOVING).nonzero().squeeze(1))

    def advance(self, position: Tensor, stride: Tensor) -> Tensor:
        """Move: clamp to the faces and snap to cells.

        Inside the lattice the new position is the nearest cell, and gradients pass as if it had not been snapped.
        On the output face z is D - 1 and x and y stay continuous.

        Args:
            position: (F, 3) cells.
            stride: (F, 3): x and y in site spacings, z in cells, more than 1.

        Returns:
            (F, 3) cells; z has grown by at least 1.
        """
        moves = (stride[:, 0] * self._spacing[0], stride[:, 1] * self._spacing[1], stride[:, 2])
        axes = [(position[:, axis] + moves[axis]).clamp(0, self._last[axis]) for axis in range(3)]
        target = torch.stack(axes, dim=1)
        cell = nearest_cell(target)
        snapped = target + (cell - target.detach())
        on_face = torch.cat((target[:, :2], cell[:, 2:]), dim=1)
        return torch.where(self.at_output(cell).unsqueeze(1), on_face, snapped)

    def at_output(self, position: Tensor) -> Tensor:
        """(F, 3) cells to (F,) bool: on the output face."""
        return position[:, 2] >= self._last[2]

    def site_of(self, position: Tensor) -> Tensor:
        """(F, 3) cells to (F,) int64: the site whose patch holds the middle of the cell."""
        columns, rows = self.config.sites
        cell = nearest_cell(position[:, :2]).long()
        x, y = (cell[:, axis].clamp(0, self._last[axis]) for axis in range(2))  # NaN must not become an address
        column = (2 * x + 1) * columns // (2 * self.config.lattice_width)
        row = (2 * y + 1) * rows // (2 * self.config.lattice_height)
        return row * columns + column

    def perceive(self, flows: Flows) -> LatticeState:
        """What the neurons may perceive: mean energy and mass per site column and per sample."""
        site = self.site_of(flows.position)
        held = torch.cat((flows.energy, flows.mass.unsqueeze(1)), dim=1)
        sums = self._sum_per_site(held, flows.sample, site, flows.batch)
        columns = mean_by_mass(sums)
        whole = mean_by_mass(sums.sum(1))
        per_site = whole[:, -1:] / self.config.num_sites
        return LatticeState(site, flows.sample, columns, torch.cat((whole[:, :-1], per_site), dim=1))

    def collect_output_energy(self, arrivals: Arrivals, batch: int) -> tuple[Tensor, Tensor]:
        """Read the output face: every arrival goes to the four nearest sites, and what meets there is averaged.

        The weights `w` are bilinear, the value of a site is `sum(w e) / max(1, sum(w m))`: alone, a flow arrives
        undiminished; parent and child that meet again add up; crowded sites average.

        Args:
            arrivals: all that arrived in the run.
            batch: B.

        Returns:
            (B, S, C) energies of the sites of the output face, 0 where nothing arrived, and (B, S) the mass that
            each received, without gradient.
        """
        columns, rows = self.config.sites
        left, right_share = _interpolate(arrivals.position[:, 0], self.nodes_x)
        below, above_share = _interpolate(arrivals.position[:, 1], self.nodes_y)
        held = torch.cat((arrivals.energy, arrivals.mass.unsqueeze(1)), dim=1)
        parts, sites = [], []
        for row, share_y in ((below, 1 - above_share), (below + 1, above_share)):
            for column, share_x in ((left, 1 - right_share), (left + 1, right_share)):
                parts.append(held * (share_x * share_y).unsqueeze(1))
                sites.append(row.clamp_max(rows - 1) * columns + column.clamp_max(columns - 1))
        sums = self._sum_per_site(torch.cat(parts), arrivals.sample.repeat(4), torch.cat(sites), batch)
        collected = mean_by_mass(sums)
        return collected[..., :-1], collected[..., -1].detach()

    def _sum_per_site(self, rows: Tensor, sample: Tensor, site: Tensor, batch: int) -> Tensor:
        sums = rows.new_zeros(batch * self.config.num_sites, rows.shape[1])
        sums = sums.index_add(0, sample * self.config.num_sites + site, rows)
        return sums.view(batch, self.config.num_sites, rows.shape[1])


def nearest_cell(position: Tensor) -> Tensor:
    """(..., 3) positions to the nearest cell, halves upwards; no gradient."""
    return torch.floor(position.detach() + 0.5)


def site_nodes(cells: int, patches: int) -> Tensor:
    """The cells nearest to the middles of equal patches of a row of cells: (patches,) whole floats."""
    middle = (torch.arange(patches, dtype=torch.float64) + 0.5) * (cells / patches) - 0.5
    return torch.floor(middle + 0.5).to(torch.get_default_dtype())


def _interpolate(coordinate: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """(F,) coordinates to the index of the node on the left and the share (0 to 1) of the one on the right."""
    if len(nodes) == 1:
        return torch.zeros_like(coordinate, dtype=torch.long), torch.zeros_like(coordinate)
    left = torch.searchsorted(nodes, coordinate.detach().contiguous(), right=True) - 1
    left = left.clamp(0, len(nodes) - 2)
    start, end = nodes.index_select(0, left), nodes.index_select(0, left + 1)
    return left, ((coordinate - start) / (end - start)).clamp(0, 1)


def mean_by_mass(sums: Tensor) -> Tensor:
    """(..., C + 1) sums of energy and mass to mean energy and summed mass."""
    energy, mass = sums[..., :-1], sums[..., -1:]
    return torch.cat((energy / mass.clamp_min(1), mass), dim=-1)
