"""A layer of a Transformer with rotary places, which the plain one and the looped one share.

Shapes: `B` rows, `S` cells, `d` width, `H` heads, `D` = d / H.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .rotary import turned

HEADS, PAIRS = 4, 4  # a head's width is a multiple of PAIRS


class Widths(NamedTuple):
    """Of a layer."""

    width: int  # d
    hidden: int  # of the feed-forward part


def widths_of(size: int) -> Widths:
    """A layer that has 8 size^2 weights in its matrices, as one of width `size` with a hidden width of twice that.

    The width must be a multiple of 16; the hidden width makes up for what that adds or takes.
    """
    unit = HEADS * PAIRS
    width = unit * max(1, round(size / unit))
    return Widths(width, max(1, round((4 * size**2 - 2 * width**2) / width)))


class AttentionBlock(nn.Module):
    """Attention over all cells, then a feed-forward part; each is normalised before and added."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        width, hidden = widths
        self.norm, self.qkv, self.join = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, cells: Tensor, angles: Tensor) -> Tensor:
        """(B, S, d) to (B, S, d); angles are (S, D / 2)."""
        heads = self.qkv(self.norm(cells)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, S, D)
        query, key, value = heads.unbind(0)
        attended = F.scaled_dot_product_attention(turned(query, angles), turned(key, angles), value)
        cells = cells + self.join(attended.transpose(1, 2).flatten(2))
        return cells + self.feed(cells)
