"""Places on a face as cosines along its two axes, and as products of them.

Shapes: `P` places, `K` waves along an axis.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .energy_lattice import EnergyLattice


def waves_width(count: int) -> int:
    """Numbers of a place in `waves`."""
    return 2 + 2 * count


def waves(across: Tensor, lattice: EnergyLattice, count: int) -> Tensor:
    """Both coordinates, and K cosines along each axis: near places are alike, and no two sites are the same.

    Args:
        across: (P, 2) cells along x and y.
        lattice: the face.
        count: K.

    Returns:
        (P, 2 + 2 K): the coordinates in [-1, 1], the cosines of x, those of y; the cosines of mean square 1.
    """
    scaled = across / lattice.half_extent.like(across)[:2] - 1
    return torch.cat((scaled, _cosines(across, lattice, count)[:, :, 1:].flatten(1)), dim=1)


def harmonics_width(count: int) -> int:
    """Numbers of a place in `harmonics`: all products of K + 1 cosines with K + 1, but for the constant one."""
    return (count + 1) ** 2 - 1


def harmonics(across: Tensor, lattice: EnergyLattice, count: int) -> Tensor:
    """The two-dimensional discrete cosine basis (Ahmed et al. 1974) at places on the face.

    With K + 1 sites along each axis a linear layer of it can do for every site what it likes; between them it is
    smooth.

    Args:
        across: (P, 2) cells along x and y.
        lattice: the face.
        count: K.

    Returns:
        (P, (K + 1)^2 - 1), each of mean square 1 over the face.
    """
    cosines = _cosines(across, lattice, count)
    return (cosines[:, 0].unsqueeze(2) * cosines[:, 1].unsqueeze(1)).flatten(1)[:, 1:]


def _cosines(across: Tensor, lattice: EnergyLattice, count: int) -> Tensor:
    """(P, 2, K + 1), the first of them 1."""
    sides = lattice.sides.like(across)
    turns = torch.arange(count + 1, dtype=across.dtype, device=across.device) * math.pi
    cosines = torch.cos(((across + 0.5) / sides).unsqueeze(2) * turns)
    return torch.cat((cosines[:, :, :1], cosines[:, :, 1:] * math.sqrt(2)), dim=2)
