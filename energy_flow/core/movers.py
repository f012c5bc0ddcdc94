"""How a flow moves: from what the carrier's head says to the place where it wants to go, in an open registry.

Shapes: `F` rows, `M` numbers that the mover takes from the carrier's head.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import MOVERS, EnergyConfig
from .flows import Place
from .harmonics import waves, waves_width


class Aimed(NamedTuple):
    """Where flows want to go, and what each would give to every site if it arrived there."""

    position: Tensor  # (F, 3)  cells
    aim: Tensor  # (F, S)  shares that add up to 1


MOVE_SCALE = 0.1  # of the movement head; at 1 all flows ran into one site within 20 steps of training (LOG)
SHORTEST_STRIDE = 0.05  # softplus(b) where paths start one cell a step: rounds to nothing, but has a gradient


class Mover(nn.Module):
    """Where flows want to go. The lattice keeps them inside and puts them into cells (`EnergyLattice.settle`).

    Args:
        config: the configuration of the model.
    """

    width: int  # M
    sideways: ClassVar[bool] = True  # whether flows may leave their column
    starts_random: ClassVar[bool] = False  # whether the head starts with random numbers, where others start with zeros

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, head: Tensor, place: Place) -> Tensor | Aimed:
        """(F, M) numbers of the head, zeros at the start of training, and where the flows stand, to (F, 3) cells; z
        must grow by 1 at least. A mover that knows what it would give to each site says that too.
        """
        raise NotImplementedError


@MOVERS.register("free")
class FreeMover(Mover):
    """Sideways by `0.1 head` site spacings, ahead by `1 + softplus(0.1 head + b)` cells, at most `max_jump`.

    `b` makes the path of an untrained flow `initial_steps` long.
    """

    width = 3

    def forward(self, head: Tensor, place: Place) -> Tensor:
        """(F, 3) numbers of the head to (F, 3) cells."""
        position = place.position
        move = head.to(position.dtype) * MOVE_SCALE
        sideways = move[:, :2] * place.lattice.spacing.like(position)
        return position + torch.cat((sideways, stride_of(move[:, 2:], place, self.config.max_jump)), dim=1)


@MOVERS.register("bounded")
class BoundedMover(FreeMover):
    """As `free`, but sideways by `tanh(0.1 head)` site spacings: never farther than to the next site in a step."""

    def forward(self, head: Tensor, place: Place) -> Tensor:
        """(F, 3) numbers of the head to (F, 3) cells."""
        move = head.to(place.position.dtype) * MOVE_SCALE
        sideways = torch.tanh(move[:, :2]) * place.lattice.spacing.like(move)
        return place.position + torch.cat((sideways, stride_of(move[:, 2:], place, self.config.max_jump)), dim=1)


@MOVERS.register("straight")
class StraightMover(Mover):
    """Ahead as `free` moves, and never sideways."""

    width = 1
    sideways = False

    def forward(self, head: Tensor, place: Place) -> Tensor:
        """(F, 1) numbers of the head to (F, 3) cells."""
        position = place.position
        stride = stride_of(head.to(position.dtype) * MOVE_SCALE, place, self.config.max_jump)
        return torch.cat((position[:, :2], position[:, 2:] + stride), dim=1)


@MOVERS.register("pointer")
class PointerMover(Mover):
    """Ahead by the stride of an untrained path; with the step that arrives, to where its pointer points on the face.

    The head is a query, and every site has a key, the waves of its place. The softmax of `scale (query key) / sqrt(M)`
    says what each site gets, and the flow goes to the mean of the sites' nodes by these weights. The queries start at
    random: from zeros, all flows learn the same one first, and many stay wrong.
    """

    starts_random = True

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__(config)
        self.width = waves_width(config.place_harmonics)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, head: Tensor, place: Place) -> Aimed:
        """(F, M) numbers of the head to (F, 3) cells, and (F, S) the pointer's weights."""
        position, lattice = place.position, place.lattice
        nodes = lattice.launch.like(position)[:, :2]
        keys = waves(nodes, lattice, self.config.place_harmonics)
        scale = self.log_scale.exp().to(position.dtype) / self.width**0.5
        with torch.autocast(position.device.type, enabled=False):  # bfloat16 has no digits for places beyond 256 cells
            aim = torch.softmax(scale * head.to(position.dtype) @ keys.t(), dim=1)
            middle = aim @ nodes
        ahead = position[:, 2:] + lattice.stride
        arrives = ahead >= lattice.last.like(position)[2]
        across = torch.where(arrives, middle, position[:, :2])
        return Aimed(torch.cat((across, ahead), dim=1), aim)


def stride_of(wish: Tensor, place: Place, max_jump: int | None) -> Tensor:
    """(F, 1) to cells along z: more than 1, at most `max_jump`, and at 0 the stride of an untrained path."""
    shortest = max(place.lattice.stride - 1.0, SHORTEST_STRIDE)
    stride = 1 + F.softplus(wish + math.log(math.expm1(shortest)))  # softplus of the bias is the shortest
    return stride if max_jump is None else stride.clamp_max(max_jump)
