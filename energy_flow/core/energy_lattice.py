"""The lattice: geometry, the faces' sites, and sums over them. It has no weights and holds no state.

Shapes: `B` samples, `F` rows, `S` sites (columns x rows, row by row), `C` energy channels, `W H D` cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import READERS, EnergyConfig
from .constants import Constant, wide_dtype
from .flows import MOVING, Arrivals, Flows, LatticeState
from .neighbourhood import neighbour_table
from .readers import nearest_cell, share_aim, site_nodes, site_of


class EnergyLattice(nn.Module):
    """A box of W x H x D cells whose faces at z = 0 and z = D - 1 are divided into equal patches, the sites.

    A site's node is the cell nearest to the middle of its patch. Flows start at nodes, and the output is read at
    them: a flow that goes straight ahead reaches its own site alone.
    """

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = config.initial_jump  # cells, of an untrained path; the compiler must not see what it follows from
        columns, rows = config.sites
        extent = [config.lattice_width, config.lattice_height, config.lattice_depth]
        nodes_x, nodes_y = site_nodes(config.lattice_width, columns), site_nodes(config.lattice_height, rows)
        grid_y, grid_x = torch.meshgrid(nodes_y, nodes_x, indexing="ij")
        self.launch = Constant(torch.stack((grid_x, grid_y, torch.zeros_like(grid_x)), dim=-1).view(-1, 3))
        last = torch.tensor(extent, dtype=torch.float64, device="cpu") - 1
        self.last = Constant(last)
        self.half_extent = Constant(last.clamp_min(1) / 2)  # what coordinates are scaled by
        self.sides = Constant(last[:2] + 1)  # (2,) cells along x and y
        spacing = [config.lattice_width / columns, config.lattice_height / rows]
        self.spacing = Constant(torch.tensor(spacing, dtype=torch.float64, device="cpu"))  # (2,) from site to site
        around = neighbour_table(columns, rows)
        self.around = Constant(around)  # (S, 9)
        self.inside = Constant((around < config.num_sites).double())  # (S, 9) 1 where a neighbour lies on the face
        self.reader = READERS[config.reader](config)

    def place_initial_energy(self, site_energies: Tensor) -> Flows:
        """Start one flow per site on the input face.

        Args:
            site_energies: (B, S, C), what `EmbeddingMapper.to_sites` makes of the embeddings.

        Returns:
            B * S flows, sample by sample in the order of the sites, with mass 1 and hidden state 0.
        """
        batch, sites, channels = site_energies.shape
        device, wide = site_energies.device, wide_dtype(site_energies.dtype)
        flow_id = torch.arange(sites, device=device).repeat(batch)
        mass = torch.ones(batch * sites, device=device, dtype=wide)
        config = self.config
        return Flows(
            energy=site_energies.reshape(batch * sites, channels),
            mass=mass,
            position=self.launch.like(mass).repeat(batch, 1),
            hidden=site_energies.new_zeros(config.carrier_num_layers, batch * sites, config.carrier_hidden_size),
            sample=torch.arange(batch, device=device).repeat_interleave(sites, output_size=batch * sites),
            flow_id=flow_id,
            parent_id=torch.full_like(flow_id, -1),
            age=torch.zeros_like(flow_id),
            origin=flow_id,
            next_id=torch.full((batch,), sites, device=device),
            entered=site_energies,
        )

    def get_active_flows(self, flows: Flows, outcome: Tensor) -> Flows:
        """The rows that are still inside the lattice, in their order, for people who look at a step's result.

        Args:
            flows: such as `StepResult.moved`.
            outcome: (F,) int64, such as `StepResult.outcome`.
        """
        return flows.rows((outcome == MOVING).nonzero().squeeze(1))

    def settle(self, position: Tensor) -> Tensor:
        """Bring flows to where they wanted to go: clamp to the box and snap to cells.

        Inside the lattice the new position is the nearest cell, and gradients pass as if it had not been snapped.
        Beyond the output face it is the nearest place on it: z is D - 1, and x and y stay continuous.

        Args:
            position: (F, 3) cells, such as `CarrierOutput.next_position`.

        Returns:
            (F, 3) cells.
        """
        last = self.last.like(position)
        target = position.clamp(torch.zeros_like(last), last)
        cell = nearest_cell(target)
        snapped = target + (cell - target.detach())
        on_face = torch.cat((target[:, :2], cell[:, 2:]), dim=1)
        return torch.where(self.at_output(cell).unsqueeze(1), on_face, snapped)

    def at_output(self, position: Tensor) -> Tensor:
        """(F, 3) cells to (F,) bool: on the output face."""
        return position[:, 2] >= self.config.lattice_depth - 1

    def site_of(self, position: Tensor) -> Tensor:
        """(F, 3) cells to (F,) int64: the site whose patch holds the middle of the cell."""
        return site_of(position, self.config)

    def perceive(self, flows: Flows) -> LatticeState:
        """What the neurons may perceive: mean energy and mass per site column and per sample."""
        site = self.site_of(flows.position)
        held = torch.cat((flows.energy.to(flows.mass.dtype), flows.mass.unsqueeze(1)), dim=1)
        sums = self.sum_per_site(held, flows.sample, site, flows.batch)
        means = mean_by_mass(sums), self.mean_of_sample(sums)
        return LatticeState(site, flows.sample, flows.mass, flows.age, *means, flows.entered, self)

    def mean_of_sample(self, sums: Tensor) -> Tensor:
        """(B, S, C + 1) sums per site to (B, C + 1): mean energy of the sample, and its mass per site."""
        whole = mean_by_mass(sums.sum(1))
        return torch.cat((whole[:, :-1], whole[:, -1:] / self.config.num_sites), dim=1)

    def collect_output_energy(
        self, arrivals: Arrivals, batch: int, on_their_way: Arrivals | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read the output face: every arrival is shared out by the reader, and what meets at a site is averaged.

        With shares `w`, the value of a site is `sum(w e) / max(1, sum(w m))`: alone, a flow arrives undiminished;
        parent and child that meet again add up; crowded sites average.

        Args:
            arrivals: all that arrived in the run.
            batch: B.
            on_their_way: flows that count as if they arrived where they are. They are in cells inside the lattice,
                where masses meet that are whole: there the mean has a kink, so in their samples its divisor has no
                gradient.

        Returns:
            (B, S, C) energies of the sites of the output face, 0 where nothing arrived, and (B, S) the mass that
            each received, without gradient.
        """
        sums = self._deposit(arrivals, batch)
        if on_their_way is not None:
            sums = sums + self._deposit(on_their_way, batch)
            unfinished = sums.new_zeros(batch, dtype=torch.bool).index_fill(0, on_their_way.sample, True)
            mass = torch.where(unfinished.view(-1, 1, 1), sums[..., -1:].detach(), sums[..., -1:])
            sums = torch.cat((sums[..., :-1], mass), dim=-1)
        collected = mean_by_mass(sums)
        return collected[..., :-1], collected[..., -1].detach()

    def _deposit(self, arrivals: Arrivals, batch: int) -> Tensor:
        """(B, S, C + 1) what the arrivals leave at each site, added up; the last is their mass."""
        aim = arrivals.aim if self.training and self.reader.takes_aim else None
        sites, shares = self.reader(arrivals.position) if aim is None else share_aim(aim)
        held = torch.cat((arrivals.energy.to(arrivals.mass.dtype), arrivals.mass.unsqueeze(1)), dim=1)
        parts = (held * shares.unsqueeze(2)).flatten(0, 1)
        return self.sum_per_site(parts, arrivals.sample.repeat(len(sites)), sites.flatten(), batch)

    def sum_per_site(self, rows: Tensor, sample: Tensor, site: Tensor, batch: int) -> Tensor:
        """(R, width) rows added up per sample and site: (B, S, width)."""
        sums = rows.new_zeros(batch * self.config.num_sites, rows.shape[1])
        sums = sums.index_add(0, sample * self.config.num_sites + site, rows)
        return sums.view(batch, self.config.num_sites, rows.shape[1])


def mean_by_mass(sums: Tensor) -> Tensor:
    """(..., C + 1) sums of energy and mass to mean energy and summed mass."""
    energy, mass = sums[..., :-1], sums[..., -1:]
    return torch.cat((energy / mass.clamp_min(1), mass), dim=-1)
