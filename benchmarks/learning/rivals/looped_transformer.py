"""A Transformer with one layer that is taken again and again (Dehghani et al. 2019), with the input at every loop.

Shapes as in `rival`; `d` is the width of the layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from energy_flow.data.pairs import Size

from .attention_block import HEADS, AttentionBlock, widths_of
from .rival import Begun, Looped
from .rotary import angles_of, places_of


class LoopedTransformer(Looped):
    """One layer with rotary places; its output is normalised, so that the state stays in range however long it loops.

    Args:
        cell_in: c.
        cell_out: k.
        size: of the layer, see `widths_of`.
    """

    def __init__(self, cell_in: int, cell_out: int, size: int) -> None:
        super().__init__()
        widths = widths_of(size)
        self.enter, self.layer = nn.Linear(cell_in, widths.width), AttentionBlock(widths)
        self.settle, self.leave = nn.LayerNorm(widths.width), nn.Linear(widths.width, cell_out)

    def begin(self, inputs: Tensor, face: Size) -> Begun:
        """What entered and the angles of the places; the state (B, S, d) is 0 before the first step."""
        cells = self.enter(inputs)
        angles = angles_of(places_of(face), cells.shape[2] // HEADS).to(cells)
        return Begun((cells, angles), cells.new_zeros(cells.shape))

    def step(self, entered: tuple[Tensor, Tensor], state: Tensor) -> Tensor:
        """Add the input, attend, normalise."""
        cells, angles = entered
        return self.settle(self.layer(state + cells, angles))

    def read(self, state: Tensor) -> Tensor:
        """A linear map of every cell."""
        return self.leave(state)
