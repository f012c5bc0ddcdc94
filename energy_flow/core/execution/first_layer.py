"""The neuron's first layer over all flows, from energies and positions on, with its backward pass written out.

The layer is linear. So a piece that is a table of sites or of samples is multiplied as a table, and the flows look up
their rows of the product: the neighbours of a site are gathered once, not once for every flow. Where every flow stands
at home there is nothing to add up and nothing to look up. What entered never changes, so its product is made once for
all steps of a run (`recalled`).

Shapes: `B` samples, `F` rows, `S` sites (`across` x `down`), `C` energy channels, `w` = C + 1, `H` the neuron's hidden
width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..energy_lattice import EnergyLattice
from ..flows import Flows
from ..perceived import Coordinates, Cross, Energy, Neighbours, Recall, Sample, Site
from ..simple_neuron import SimpleNeuron
from .gru_step import differentiate_equations, needs_equations
from .weights import is_watched

KNOWN = {
    Coordinates: "coordinates",
    Cross: "neighbours",
    Energy: "energy",
    Neighbours: "neighbours",
    Recall: "recall",
    Sample: "sample",
    Site: "site",
}
FEW = 0.7  # share of live flows per site below which every flow has its own row of features made: less work
CENTRE = 4  # of the 3 x 3 columns around a site, itself


@dataclass(frozen=True)
class Layout:
    """What the layer is made of: the columns of its weight that read each piece, and how flows relate to sites."""

    columns: dict[str, slice]  # of the weight, by piece
    face: tuple[int, int]  # across and down
    batch: int  # B
    half_extent: Tensor  # (3,) of the lattice in cells; what coordinates are scaled by
    mass: Tensor  # (F,)
    places: tuple[int, ...]  # of the 3 x 3 columns around a site, those that are perceived, n
    chosen: Tensor | None  # (n,) int64, the same; None is all
    inside: Tensor  # (S, n) 1 where a neighbour lies on the face, 0 beyond it
    place: Tensor | None  # (F,) int64, the row of each flow in a table (B S, ...); None where flow b S + s is at site s
    equation: Callable[..., tuple[Tensor]]  # the same in torch's own operations

    @property
    def sites(self) -> int:
        """S."""
        return self.face[0] * self.face[1]


def columns_of(neuron: SimpleNeuron) -> dict[str, slice] | None:
    """The columns of the weight that read each piece; None where a piece is not the package's own, or is watched."""
    found, start = {}, 0
    for piece in neuron.perceived:
        if type(piece) not in KNOWN or is_watched(piece) or KNOWN[type(piece)] in found:
            return None
        found[KNOWN[type(piece)]] = slice(start, start + piece.width)
        start += piece.width
    return found


def layout_of(
    columns: dict[str, slice], lattice: EnergyLattice, neuron: SimpleNeuron, flows: Flows, at_home: bool
) -> Layout:
    """How these flows relate to the sites of this lattice."""
    config = lattice.config
    place = None if at_home else flows.sample * config.num_sites + lattice.site_of(flows.position)

    def equation(
        energy: Tensor, position: Tensor, weight: Tensor, bias: Tensor, recalled: Tensor | None
    ) -> tuple[Tensor]:
        nothing = flows.entered.detach() * 0  # what is recalled is given
        state = lattice.perceive(flows._replace(energy=energy, position=position, entered=nothing))
        first = F.linear(neuron.compute_features(position, energy, state).to(weight.dtype), weight, bias)
        if recalled is None:
            return (first,)
        return (first + (recalled if place is None else recalled.index_select(0, place)),)

    around = next((one for one in neuron.perceived if isinstance(one, Neighbours)), None)
    places = () if around is None else around.places
    chosen = None if around is None or len(places) == 9 else around.chosen.like(flows.mass)
    extent, inside = lattice.half_extent.like(flows.position), lattice.inside.like(flows.mass)
    inside = inside if chosen is None else inside.index_select(1, chosen)
    return Layout(columns, config.sites, flows.batch, extent, flows.mass, places, chosen, inside, place, equation)


def recalled_product(entered: Tensor, weight: Tensor, columns: dict[str, slice]) -> Tensor | None:
    """(B S, H) what the energies that entered (B, S, C) give to the layer; None where they are not perceived."""
    if "recall" not in columns:
        return None
    return F.linear(entered.flatten(0, 1).to(weight.dtype), weight[:, columns["recall"]])


class FirstLayer(torch.autograd.Function):
    """(F, C) energies and (F, 3) positions, the weight (H, P), its bias (H,), and (B S, H) what `recalled_product` gave
    or None, to (F, H).
    """

    @staticmethod
    def forward(
        ctx: Any,
        energy: Tensor,
        position: Tensor,
        weight: Tensor,
        bias: Tensor,
        recalled: Tensor | None,
        layout: Layout,
    ) -> Tensor:
        """Keeps the tables, and what they were divided by."""
        tables, part = _tables_of(energy, layout), _Parts(weight, layout)
        by_site = _product_of_tables(tables, part, bias, layout)
        if recalled is not None:
            by_site = by_site + recalled.view(layout.batch, layout.sites, -1)
        rows = by_site.flatten(0, 1)
        if layout.place is not None:
            rows = rows.index_select(0, layout.place)
        elif part.neighbours is None and recalled is None:
            rows = rows.clone()  # it may be the bias itself, and is added to below
        if part.energy is not None:
            rows.addmm_(energy.to(weight.dtype), part.energy.t())
        if part.coordinates is not None:
            rows.addmm_(_coordinates(position, layout, weight.dtype), part.coordinates.t())
        ctx.save_for_backward(energy, position, weight, bias, recalled, part.kernel, *tables)
        ctx.layout = layout
        return rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of energies, positions, weight, bias and what was recalled; mass has none."""
        energy, position, weight, bias, recalled, kernel, *tables = ctx.saved_tensors
        layout: Layout = ctx.layout
        if needs_equations(gradient):
            inputs = (energy, position, weight, bias, recalled)
            return *differentiate_equations(layout.equation, inputs, (gradient,)), None
        part = _Parts(weight, layout, kernel)
        to_weight = torch.empty_like(weight)
        to_part = {name: to_weight[:, columns] for name, columns in layout.columns.items()}
        if "recall" in to_part:
            to_part["recall"].zero_()  # it comes through what was recalled
        to_rows = gradient
        if layout.place is not None:
            to_rows = gradient.new_zeros(layout.batch * layout.sites, gradient.shape[1])
            to_rows.index_add_(0, layout.place, gradient)
        to_energy = _gradients_of_tables(
            to_rows.view(layout.batch, layout.sites, -1), _Tables(*tables), part, to_part, layout
        )
        to_energy = None if to_energy is None else to_energy.to(energy.dtype)
        if to_energy is not None and layout.place is not None:
            to_energy = to_energy.index_select(0, layout.place)
        if part.energy is not None:
            own = (gradient @ part.energy).to(energy.dtype)
            to_energy = own if to_energy is None else to_energy + own
            torch.mm(gradient.t(), energy.to(weight.dtype), out=to_part["energy"])
        to_position = None
        if part.coordinates is not None:
            to_axes = torch.mm(
                part.coordinates.t(), gradient.t()
            )  # (3, F): products of three rows, not of three columns
            to_position = to_axes.to(position.dtype).t() / layout.half_extent
            to_part["coordinates"].copy_(torch.mm(_coordinates(position, layout, weight.dtype).t(), gradient).t())
        return to_energy, to_position, to_weight, gradient.sum(0), None if recalled is None else to_rows, None


class _Tables(NamedTuple):
    """What sites and samples hold."""

    columns: Tensor  # (B S, C) mean energy of the site columns
    mass: Tensor | None  # (B, S) their mass; None is 1 everywhere
    whole: Tensor | None  # (B, C + 1) the samples' mean energy and mass per site, where it is perceived
    total: Tensor | None  # (B, 1) the masses that divided the samples' energy


class _Parts:
    """The columns of a weight (H, P), piece by piece; None where a piece is not perceived.

    Where every flow stands at home, its energy is its own column's, so the weight of the energy is added to the middle
    of the kernel, and one product is saved.
    """

    def __init__(self, weight: Tensor, layout: Layout, kernel: Tensor | None = None) -> None:
        parts = {name: weight[:, columns] for name, columns in layout.columns.items()}
        self.coordinates, self.energy = parts.get("coordinates"), parts.get("energy")
        self.sample, self.site = parts.get("sample"), parts.get("site")
        around = parts.get("neighbours")
        self.neighbours = None if around is None else around.unflatten(1, (len(layout.places), -1))  # (H, n, w)
        own, self.shared = self.energy, False
        if own is not None and self.neighbours is not None and layout.place is None:
            self.energy, self.shared = None, True
        if kernel is None and self.neighbours is not None:
            kernel = self.neighbours[:, :, :-1].contiguous()
            if self.shared and own is not None and kernel is not None:
                kernel[:, layout.places.index(CENTRE)] += own
        self.kernel = kernel  # (H, n, C) the weights of the neighbours' energies


def _coordinates(position: Tensor, layout: Layout, dtype: torch.dtype) -> Tensor:
    return (position / layout.half_extent - 1).to(dtype)


def _tables_of(energy: Tensor, layout: Layout) -> _Tables:
    batch, sites, channels = layout.batch, layout.sites, energy.shape[1]
    if layout.place is None:
        columns, mass = energy, None
        sums = energy.view(batch, sites, channels)
        total = energy.new_full((batch, 1), float(sites)) if "sample" in layout.columns else None
    else:
        held = torch.cat((energy.to(layout.mass.dtype), layout.mass.unsqueeze(1)), dim=1)
        held = held.new_zeros(batch * sites, channels + 1).index_add_(0, layout.place, held)
        sums, mass = held[:, :-1].view(batch, sites, channels), held[:, -1]
        columns = held[:, :-1] / mass.clamp_min(1).unsqueeze(1)
        mass = mass.view(batch, sites)
        total = mass.sum(1, keepdim=True) if "sample" in layout.columns else None
    if total is None:
        return _Tables(columns, mass, None, None)
    divisor = total.clamp_min(1)
    whole = torch.cat((sums.sum(1) / divisor, (total / sites).to(sums.dtype)), dim=1)
    return _Tables(columns, mass, whole, divisor)


def _product_of_tables(tables: _Tables, part: _Parts, bias: Tensor, layout: Layout) -> Tensor:
    """(B, S, H) what the tables of sites and samples give to the layer, its bias included."""
    dtype = bias.dtype
    product = bias.expand(layout.batch, 1, -1)
    if tables.whole is not None and part.sample is not None:
        product = torch.addmm(bias, tables.whole.to(dtype), part.sample.t()).unsqueeze(1)
    if part.neighbours is not None:
        mass = _mass_around(tables, layout, dtype) @ part.neighbours[:, :, -1].t()
        product = product + mass.view(-1, layout.sites, len(bias))
        assert part.kernel is not None
        around = unfold(tables.columns.to(dtype), layout) @ part.kernel.flatten(1).t()
        product = around.view(layout.batch, layout.sites, -1).add_(product)
    if part.site is not None:
        own = tables.columns.to(dtype) @ part.site[:, :-1].t()
        product = product + own.view(layout.batch, layout.sites, -1)
        mass = 1.0 if tables.mass is None else tables.mass.to(dtype).unsqueeze(2)
        product = product + mass * part.site[:, -1]
    return product.expand(-1, layout.sites, -1)


def _gradients_of_tables(
    to_product: Tensor, tables: _Tables, part: _Parts, to_part: dict[str, Tensor], layout: Layout
) -> Tensor | None:
    """From the gradient (B, S, H) of the product to that of the energies summed per site, (B S, C); gradients of the
    weight are written to `to_part`.
    """
    dtype, flat = to_product.dtype, to_product.flatten(0, 1)
    to_columns: Tensor | None = None
    if part.neighbours is not None and part.kernel is not None:
        to_columns = fold(flat @ part.kernel.flatten(1), layout)
        to_kernel = (flat.t() @ unfold(tables.columns.to(dtype), layout)).view_as(part.kernel)
        to_neighbours = to_part["neighbours"].unflatten(1, (len(layout.places), -1))
        to_neighbours[:, :, :-1] = to_kernel
        to_mass = flat if tables.mass is not None else to_product.sum(0)
        to_neighbours[:, :, -1] = to_mass.t() @ _mass_around(tables, layout, dtype)
        if part.shared:
            to_part["energy"].copy_(to_kernel[:, layout.places.index(CENTRE)])
    if part.site is not None:
        own = flat @ part.site[:, :-1]
        to_columns = own if to_columns is None else to_columns + own
        to_part["site"][:, :-1] = flat.t() @ tables.columns.to(dtype)
        mass = flat.new_ones(len(flat)) if tables.mass is None else tables.mass.to(dtype).flatten()
        to_part["site"][:, -1] = flat.t() @ mass
    if to_columns is not None and tables.mass is not None:
        to_columns = to_columns / tables.mass.clamp_min(1).view(-1, 1)
    if tables.whole is None or tables.total is None or part.sample is None:
        return to_columns
    to_samples = to_product.sum(1)
    torch.mm(to_samples.t(), tables.whole.to(dtype), out=to_part["sample"])
    to_sums = ((to_samples @ part.sample[:, :-1]).to(tables.total.dtype) / tables.total).unsqueeze(1)
    if to_columns is None:
        return to_sums.expand(-1, layout.sites, -1).flatten(0, 1)
    return (to_columns.view(layout.batch, layout.sites, -1) + to_sums).flatten(0, 1)


def unfold(columns: Tensor, layout: Layout) -> Tensor:
    """(B S, C) to (B S, n C): the columns around each, row by row, zeros beyond the face."""
    across, down = layout.face
    padded = F.pad(columns.view(layout.batch, down, across, -1), (0, 0, 1, 1, 1, 1))
    if len(layout.places) < 9:
        corners = [divmod(place, 3) for place in layout.places]
        parts = [padded[:, y : y + down, x : x + across] for y, x in corners]
        return torch.cat(parts, dim=3).view(len(columns), -1)
    sample, row, column, _ = padded.stride()
    three = 3 * padded.shape[3]  # three neighbours of a row lie one after the other in memory
    around = padded.as_strided((layout.batch, down, across, 3, three), (sample, row, column, row, 1))
    return around.reshape(len(columns), 3 * three)


def fold(around: Tensor, layout: Layout) -> Tensor:
    """(B S, n C) gradients of `unfold` to (B S, C)."""
    across, down = layout.face
    parts = around.view(layout.batch, down, across, len(layout.places), -1)
    padded = around.new_zeros(layout.batch, down + 2, across + 2, parts.shape[4])
    for number, place in enumerate(layout.places):
        y, x = divmod(place, 3)
        padded[:, y : y + down, x : x + across] += parts[:, :, :, number]
    return padded[:, 1:-1, 1:-1].reshape(len(around), -1)


def _mass_around(tables: _Tables, layout: Layout, dtype: torch.dtype) -> Tensor:
    """(B S, n) the mass of the columns around each, zeros beyond the face; (S, n) where it is 1 everywhere."""
    across, down = layout.face
    if tables.mass is None:
        return layout.inside.to(dtype)
    padded = F.pad(tables.mass.to(dtype).view(layout.batch, 1, down, across), (1, 1, 1, 1))
    around = padded.unfold(2, 3, 1).unfold(3, 3, 1).reshape(-1, 9)
    return around if layout.chosen is None else around.index_select(1, layout.chosen)
