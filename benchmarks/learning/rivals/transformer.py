"""A Transformer over the cells. Shapes as in `rival`."""

from __future__ import annotations

from torch import Tensor, nn

from .attention_block import HEADS, AttentionBlock, widths_of
from .rival import Course, Rival
from .rotary import angles_of, places_of

LAYERS = 3


class Transformer(Rival):
    """Three layers with rotary places: every cell attends to every other.

    Args:
        cell_in: c.
        cell_out: k.
        size: of a layer, see `widths_of`.
    """

    def __init__(self, cell_in: int, cell_out: int, size: int) -> None:
        super().__init__()
        widths = widths_of(size)
        self.enter = nn.Linear(cell_in, widths.width)
        self.layers = nn.ModuleList(AttentionBlock(widths) for _ in range(LAYERS))
        self.leave = nn.Sequential(nn.LayerNorm(widths.width), nn.Linear(widths.width, cell_out))

    def forward(self, inputs: Tensor, course: Course) -> list[Tensor]:
        """Attend layer by layer; see `Rival`."""
        cells = self.enter(inputs)
        angles = angles_of(places_of(course.face), cells.shape[2] // HEADS).to(cells)
        for layer in self.layers:
            cells = layer(cells, angles)
        return [self.leave(cells)]
