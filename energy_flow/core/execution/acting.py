"""What a flow does after the GRU, with the backward passes written out: energy, movement, splits, settling in cells.

`EnergyCarrier.decide`, `movers.py` and `EnergyLattice.settle` have the equations.

Shapes: `F` rows, `C` energy channels, `M` numbers of the mover's head, `K` children.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..energy_carrier import CarrierOutput, EnergyCarrier
from ..energy_lattice import EnergyLattice
from ..energy_rules import Gated, ToColumn, ToOrigin
from ..flows import Place
from ..movers import MOVE_SCALE, SHORTEST_STRIDE, FreeMover, StraightMover
from .gru_step import differentiate_equations, needs_equations
from .weights import is_watched


@dataclass(frozen=True)
class Acts:
    """What `Act` needs to know beside tensors."""

    channels: int  # C
    mover: int  # M: 3 free, 1 straight
    children: int  # K
    gate_start: float  # what is added to the gate
    relaxes: bool  # whether the energies relax towards others
    spacing: Tensor | None  # (2, 1) cells of a site spacing along x and y; None where nobody moves sideways
    bias: float  # of the stride
    max_jump: int | None
    equation: Callable[..., tuple[Tensor, Tensor, Tensor]]


def acts_of(carrier: EnergyCarrier, place: Place) -> Acts | None:
    """How this carrier acts, on the device and in the dtype of the positions of `place`.

    None with a mover or an energy rule of one's own, or a mover that is watched: they are called as they are.
    """
    mover, rule, lattice, config = carrier.mover, carrier.rule, place.lattice, carrier.mover.config
    if is_watched(mover) or type(rule) not in (Gated, ToColumn, ToOrigin):
        return None
    if type(mover) is FreeMover:
        spacing = lattice.spacing.like(place.position).unsqueeze(1)
    elif type(mover) is StraightMover:
        spacing = None
    else:
        return None
    shortest = max(lattice.stride - 1.0, SHORTEST_STRIDE)

    def equation(
        heads: Tensor, energy: Tensor, position: Tensor, toward: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        output = carrier.act(heads, energy, Place(position, lattice, toward))
        return output.energy_value, output.next_position, output.spawn_shares

    return Acts(
        carrier.config.energy_dim,
        mover.width,
        carrier.config.max_children,
        rule.gate_start,
        rule.relaxes,
        spacing,
        math.log(math.expm1(shortest)),
        config.max_jump,
        equation,
    )


def decide(carrier: EnergyCarrier, acts: Acts | None, top: Tensor, energy: Tensor, place: Place) -> CarrierOutput:
    """As `EnergyCarrier.decide`."""
    if acts is None:
        return carrier.decide(top, energy, place)
    heads = carrier.heads(carrier.norm(top)).to(energy.dtype)
    found = Act.apply(heads, energy, place.position, place.toward, acts)
    energy_value, next_position, shares = found  # type: ignore[misc]
    return carrier.output_of(energy_value, next_position, shares)


class Act(torch.autograd.Function):
    """(F, 2 C + M + K) heads, (F, C) energies, (F, 3) positions and, with a rule that has them, (F, C) energies that
    those relax towards, to the new energies, the wanted positions and the children's shares.
    """

    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, energy: Tensor, position: Tensor, toward: Tensor | None, acts: Acts
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keeps the gate, the shares, and the wish along z."""
        channels, moves = acts.channels, 2 * acts.channels + acts.mover
        gate, delta = torch.add(heads[:, :channels], acts.gate_start).sigmoid_(), heads[:, channels : 2 * channels]
        if toward is None:
            energy_value = torch.addcmul(delta, gate, energy)
        else:
            energy_value = torch.lerp(toward + delta, energy, gate)
        next_position = _along_axes(position)
        move = heads[:, 2 * channels : moves].t().to(position.dtype)
        wish = torch.add(acts.bias, move[-1], alpha=MOVE_SCALE)
        stride = F.softplus(wish).add_(1)
        next_position[2] += stride if acts.max_jump is None else stride.clamp_max_(acts.max_jump)
        if acts.spacing is not None:
            next_position[:2].addcmul_(move[:2], acts.spacing, value=MOVE_SCALE)
        shares = torch.sigmoid(heads[:, moves:]).div_(acts.children + 1) if acts.children else heads[:, moves:].clone()
        ctx.save_for_backward(heads, energy, position, toward, gate, wish, shares)
        ctx.acts = acts
        ctx.set_materialize_grads(False)
        return energy_value, next_position.t(), shares

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, to_value: Tensor | None, to_next: Tensor | None, to_shares: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of heads, energies, positions, and of what the energies relax towards."""
        heads, energy, position, toward, gate, wish, shares = ctx.saved_tensors
        acts: Acts = ctx.acts
        if needs_equations(to_value, to_next, to_shares):
            gradients = (to_value, to_next, to_shares)
            return *differentiate_equations(acts.equation, (heads, energy, position, toward), gradients), None
        channels, moves = acts.channels, 2 * acts.channels + acts.mover
        to_heads, to_energy, to_toward = torch.empty_like(heads), None, None
        if to_value is None:
            to_heads[:, : 2 * channels].zero_()
        elif toward is None:
            to_heads[:, channels : 2 * channels] = to_value
            to_energy = to_value * gate
            torch.mul(to_energy, energy, out=to_heads[:, :channels]).addcmul_(to_heads[:, :channels], gate, value=-1)
        else:
            to_energy = to_value * gate
            to_toward = to_value - to_energy
            to_heads[:, channels : 2 * channels] = to_toward
            torch.sub(energy, toward, out=to_heads[:, :channels]).sub_(heads[:, channels : 2 * channels])
            to_heads[:, :channels].mul_(gate).mul_(to_toward)
        if to_next is None:
            to_heads[:, 2 * channels : moves].zero_()
        else:
            to_stride = torch.sigmoid(wish).mul_(to_next[:, 2])
            if acts.max_jump is not None:
                to_stride.mul_(F.softplus(wish).add_(1) <= acts.max_jump)
            torch.mul(to_stride, MOVE_SCALE, out=to_heads[:, moves - 1])
            if acts.spacing is not None:
                torch.mul(to_next[:, :2], acts.spacing.t() * MOVE_SCALE, out=to_heads[:, 2 * channels : moves - 1])
        if acts.children:
            if to_shares is None:
                to_heads[:, moves:].zero_()
            else:
                to_heads[:, moves:] = to_shares * shares * (1 - shares * (acts.children + 1))
        return to_heads, to_energy, to_next, to_toward, None


class Settle(torch.autograd.Function):
    """(F, 3) wanted positions to where the flows come to be: clamped to the box, and in cells inside it."""

    @staticmethod
    def forward(ctx: Any, position: Tensor, lattice: EnergyLattice) -> Tensor:
        """Keeps where the flows wanted to go, and which of them are on the face."""
        last = lattice.last.like(position).unsqueeze(1)
        target = _along_axes(position).clamp_(torch.zeros_like(last), last)
        settled = torch.add(target, 0.5).floor_()
        on_face = settled[2] >= last[2]
        torch.where(on_face, target[:2], settled[:2], out=settled[:2])
        ctx.save_for_backward(position, on_face)
        ctx.lattice = lattice
        return settled.t()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:  # type: ignore[override]
        """Straight through, but for what was clamped, and for z on the face."""
        position, on_face = ctx.saved_tensors
        if needs_equations(gradient):
            return differentiate_equations(lambda one: (ctx.lattice.settle(one),), (position,), (gradient,))[0], None
        last = ctx.lattice.last.like(position).unsqueeze(1)
        follows = (position.t() >= 0) & (position.t() <= last)
        follows[2] &= ~on_face
        return (gradient.t() * follows).t(), None


def _along_axes(position: Tensor) -> Tensor:
    """(F, 3) to a copy (3, F) whose axes lie one after the other in memory: short rows are slow to walk through."""
    return position.t().clone(memory_format=torch.contiguous_format)
