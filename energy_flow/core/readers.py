"""How arrivals are read at the output face, in an open registry: the share of each arrival that each site gets.

Shapes: `A` arrivals, `S` sites, `n` sites that one arrival reaches.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..config import READERS, EnergyConfig
from .constants import Constant


class Reader:
    """Shares arrivals out among sites.

    Args:
        config: the configuration of the model.
    """

    takes_aim: ClassVar[bool] = False  # whether, in training, an arrival is shared out as its pointer says

    def __init__(self, config: EnergyConfig) -> None:
        self.config = config

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """(A, 3) cells on the output face to (n, A) int64 sites, and (n, A) shares that add up to 1 over n."""
        raise NotImplementedError


@READERS.register("bilinear")
class BilinearReader(Reader):
    """The four nearest sites, by bilinear interpolation between their nodes: gradients reach x and y."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        columns, rows = config.sites
        self.nodes = (
            Constant(site_nodes(config.lattice_width, columns)),
            Constant(site_nodes(config.lattice_height, rows)),
        )

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """(A, 3) to (4, A) twice."""
        columns, rows = self.config.sites
        left, right_share = _interpolate(position[:, 0], self.nodes[0].like(position))
        below, above_share = _interpolate(position[:, 1], self.nodes[1].like(position))
        right, above = (left + 1).clamp_max(columns - 1), (below + 1).clamp_max(rows - 1)
        below, above = below * columns, above * columns
        sites = torch.stack((below + left, below + right, above + left, above + right))
        left_share, below_share = 1 - right_share, 1 - above_share
        shares = (
            left_share * below_share,
            right_share * below_share,
            left_share * above_share,
            right_share * above_share,
        )
        return sites, torch.stack(shares)


@READERS.register("aimed")
class AimedReader(BilinearReader):
    """While a model trains, all sites in the shares that the flow's pointer gives them; otherwise as `bilinear`.

    So a pointer that is undecided reaches every site, and a wrong one learns from the right site; where it is decided,
    the two are the same.
    """

    takes_aim = True


@READERS.register("nearest")
class NearestReader(Reader):
    """The site whose patch holds the arrival, whole: no gradient reaches x and y."""

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """(A, 3) to (1, A) twice."""
        site = site_of(position, self.config).unsqueeze(0)
        return site, torch.ones_like(site, dtype=position.dtype)


def share_aim(aim: Tensor) -> tuple[Tensor, Tensor]:
    """(A, S) what each site gets of each arrival to (S, A) int64 sites, and (S, A) shares."""
    arrivals, sites = aim.shape
    return torch.arange(sites, device=aim.device).unsqueeze(1).expand(sites, arrivals), aim.t()


def site_of(position: Tensor, config: EnergyConfig) -> Tensor:
    """(F, 3) cells to (F,) int64: the site whose patch holds the middle of the cell."""
    columns, rows = config.sites
    cell = nearest_cell(position[:, :2]).long()
    x = cell[:, 0].clamp(0, config.lattice_width - 1)  # NaN must not become an address
    y = cell[:, 1].clamp(0, config.lattice_height - 1)
    column = (2 * x + 1) * columns // (2 * config.lattice_width)
    row = (2 * y + 1) * rows // (2 * config.lattice_height)
    return row * columns + column


def nearest_cell(position: Tensor) -> Tensor:
    """(..., 3) positions to the nearest cell, halves upwards; no gradient."""
    return torch.floor(position.detach() + 0.5)


def site_nodes(cells: int, patches: int) -> Tensor:
    """The cells nearest to the middles of equal patches of a row of cells: (patches,) whole numbers, float64."""
    middle = (torch.arange(patches, dtype=torch.float64, device="cpu") + 0.5) * (cells / patches) - 0.5
    return torch.floor(middle + 0.5)


def _interpolate(coordinate: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """(A,) coordinates to the index of the node on the left and the share (0 to 1) of the one on the right."""
    if len(nodes) == 1:
        return torch.zeros_like(coordinate, dtype=torch.long), torch.zeros_like(coordinate)
    if torch.compiler.is_exporting():  # ONNX has no searchsorted
        passed = (coordinate.detach().unsqueeze(1) >= nodes).sum(1)
    else:
        passed = torch.searchsorted(nodes, coordinate.detach().contiguous(), right=True)
    left = (passed - 1).clamp(0, len(nodes) - 2)
    start, end = nodes.index_select(0, left), nodes.index_select(0, left + 1)
    return left, ((coordinate - start) / (end - start)).clamp(0, 1)
