"""What a neuron perceives of the other flows: one small function per choice, in a registry.

Shapes: `F` rows, `B` samples, `S` sites, `C` energy channels. Every function takes the state of the lattice and the
table of neighbours (S, 9), whose entry S means "beyond the face", and returns (F, width) features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .flows import LatticeState


class FeatureKind(NamedTuple):
    """A choice of lattice-state features: how many blocks of C + 1 numbers, and how to gather them."""

    blocks: int
    gather: Callable[[LatticeState, Tensor], Tensor]


def perceive_none(state: LatticeState, neighbours: Tensor) -> Tensor:
    """(F, 0): a neuron that perceives nothing but its own flow."""
    return state.whole.new_zeros((state.site.shape[0], 0))


def perceive_sample(state: LatticeState, neighbours: Tensor) -> Tensor:
    """(F, C + 1): the whole sample."""
    return state.whole.index_select(0, state.sample)


def perceive_site(state: LatticeState, neighbours: Tensor) -> Tensor:
    """(F, 2 (C + 1)): the own site column and the whole sample."""
    sites = state.columns.shape[1]
    own = state.columns.flatten(0, 1).index_select(0, state.sample * sites + state.site)
    return torch.cat((own, perceive_sample(state, neighbours)), dim=1)


def perceive_neighbours(state: LatticeState, neighbours: Tensor) -> Tensor:
    """(F, 10 (C + 1)): the 3 x 3 site columns around the flow, zeros beyond the face, and the whole sample."""
    width = state.columns.shape[2]
    padded = F.pad(state.columns, (0, 0, 0, 1))  # one empty column: (B, S + 1, C + 1)
    places = neighbours.index_select(0, state.site) + (state.sample * padded.shape[1]).unsqueeze(1)
    around = padded.flatten(0, 1).index_select(0, places.flatten()).view(-1, 9 * width)
    return torch.cat((around, perceive_sample(state, neighbours)), dim=1)


FEATURES: dict[str, FeatureKind] = {
    "none": FeatureKind(0, perceive_none),
    "sample": FeatureKind(1, perceive_sample),
    "site": FeatureKind(2, perceive_site),
    "neighbours": FeatureKind(10, perceive_neighbours),
}


def neighbour_table(columns: int, rows: int) -> Tensor:
    """(S, 9) int64: the sites around each site, row by row, itself in the middle; S stands for "beyond the face"."""
    sites = torch.arange(columns * rows).view(1, 1, rows, columns).double()
    padded = F.pad(sites, (1, 1, 1, 1), value=float(columns * rows))
    return F.unfold(padded, kernel_size=3)[0].T.long().contiguous()
