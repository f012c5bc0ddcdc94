"""Who goes on after a step: survivors, then newborn, gathered into the rows of the next one.

Shapes: `F` rows before, `A` survivors, `M` newborn, `K` children, `L` layers, `N` hidden size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..flows import rows_where
from .gru_step import is_batched


class Regrouping(NamedTuple):
    """The rows of the next step, by what they come from."""

    stay: Tensor  # (A,) int64, rows that live on
    parent: Tensor  # (M,) int64, row of each newborn's parent
    child: Tensor  # (M,) int64, which of its parent's K children it is
    slot: Tensor  # (M,) int64, parent and child as one number, a row of what is (F, K, ...) flattened


def group_rows(moving: Tensor, accepted: Tensor, survivors: int, newborn: int) -> Regrouping:
    """Find the rows of the next step.

    Args:
        moving: (F,) bool, flows that live on.
        accepted: (F, K) bool, children that start.
        survivors: A.
        newborn: M.
    """
    slot, children = rows_where(accepted.flatten(), newborn), max(1, accepted.shape[1])
    return Regrouping(rows_where(moving, survivors), slot // children, slot % children, slot)


class RegroupHidden(torch.autograd.Function):
    """(L, F, N) hidden states to those of the next step, (L, A + M, N): a child has its parent's plus an offset.

    What autograd would derive from a gather and a sum does the same in twice the passes over memory: survivors are
    distinct rows, so their gradients are copied, and only those of the few children are added.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, offset: Tensor, group: Regrouping) -> Tensor:
        """`offset` is (L, K, N)."""
        ctx.save_for_backward(group.stay, group.parent, group.child)
        ctx.shape, ctx.offset_shape, ctx.offset_dtype = hidden.shape, offset.shape, offset.dtype
        after = hidden.index_select(1, torch.cat((group.stay, group.parent)))
        if len(group.parent):
            after[:, len(group.stay) :] += offset.index_select(1, group.child).to(hidden.dtype)
        return after

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        """Gradients of the states and of the offsets; linear, so that they can be differentiated again."""
        stay, parent, child = ctx.saved_tensors
        to_children = gradient.narrow(1, len(stay), len(parent))
        offset = gradient.new_zeros(ctx.offset_shape, dtype=ctx.offset_dtype)
        if not is_batched(gradient):
            hidden = gradient.new_zeros(ctx.shape)
            hidden.index_copy_(1, stay, gradient.narrow(1, 0, len(stay)))
            hidden.index_add_(1, parent, to_children)
            offset.index_add_(1, child, to_children.to(offset.dtype))
            return hidden, offset, None
        zeros = torch.zeros(ctx.shape, dtype=gradient.dtype, device=gradient.device)
        hidden = zeros.index_add(1, torch.cat((stay, parent)), gradient)
        return hidden, offset.index_add(1, child, to_children.to(ctx.offset_dtype)), None
