"""A GRU that reads the cells one after the other, row by row. Shapes as in `rival`."""

from __future__ import annotations

from torch import Tensor, nn

from .rival import Course, Rival


class CellGRU(Rival):
    """Two layers, each in both directions.

    Args:
        cell_in: c.
        cell_out: k.
        hidden: of one direction.
    """

    def __init__(self, cell_in: int, cell_out: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(cell_in, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.leave = nn.Linear(2 * hidden, cell_out)

    def forward(self, inputs: Tensor, course: Course) -> list[Tensor]:
        """Read along the line; see `Rival`."""
        return [self.leave(self.gru(inputs)[0])]
