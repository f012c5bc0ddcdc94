"""How the faces start, and whether all sites share one pair of matrices, in an open registry.

Shapes: `S` sites, `C` energy channels, `E` embedding width, `c` numbers of an embedding that belong to one site.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import FACES

Start = Callable[[int, int, int, int], tuple[Tensor, Tensor]]


class Face(NamedTuple):
    """A kind of faces.

    Attributes:
        start: from S, C, and the widths of input and output to the matrices at the start of training. Those of the
            whole face are (S C, E in) and (S C, E out), those that all sites share (C, c in) and (C, c out). With
            orthonormal columns an untrained lattice returns its input.
        tied: whether all sites share one pair; S must divide both widths.
    """

    start: Start
    tied: bool = False


def local_start(sites: int, channels: int, width_in: int, width_out: int) -> tuple[Tensor, Tensor]:
    """Every site gets its own chunk of the embedding, spread over the channels by one orthonormal basis for all."""
    basis = _basis(channels, channels)
    faces = []
    for width in (width_in, width_out):
        chunk = math.ceil(width / sites)
        whole = torch.block_diag(*[basis[:, :chunk]] * sites)
        faces.append(whole[:, :width].contiguous())
    return faces[0], faces[1]


def mixed_start(sites: int, channels: int, width_in: int, width_out: int) -> tuple[Tensor, Tensor]:
    """Every site sees a random view of the whole embedding."""
    basis = _basis(sites * channels, max(width_in, width_out))
    return basis[:, :width_in].contiguous(), basis[:, :width_out].contiguous()


def tied_start(sites: int, channels: int, width_in: int, width_out: int) -> tuple[Tensor, Tensor]:
    """Every site gets its own chunk, spread over the channels by the pair of matrices that all sites share.

    Where input and output of a site have different widths, they mean different things: then the output is read from
    channels that the input does not fill, as far as there are such, and an untrained lattice answers nothing.
    """
    for name, width in (("input_embedding_dim", width_in), ("output_embedding_dim", width_out)):
        if width % sites:
            raise ValueError(f"{name} = {width}; tied faces give each of {sites} sites as much: give a multiple of it")
    basis, given, read = _basis(channels, channels), width_in // sites, width_out // sites
    first = 0 if given == read else min(given, channels - read)
    return basis[:, :given].contiguous(), basis[:, first : first + read].contiguous()


def _basis(rows: int, columns: int) -> Tensor:
    """(rows, columns) random with orthonormal columns."""
    noise = torch.randn(rows, columns)
    return noise if noise.is_meta else torch.linalg.qr(noise)[0]


FACES.add("local", Face(local_start))
FACES.add("mixed", Face(mixed_start))
FACES.add("tied", Face(tied_start, tied=True))
