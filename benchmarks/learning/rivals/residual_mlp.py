"""Multi-layer perceptrons: over whole rows, where all have one size, and over what lies around a cell, where not.

Shapes as in `rival`; `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

from torch import Tensor, nn

from .rival import Course, Rival
from .windows import RADIUS, window_width, windows


class ResidualMLP(nn.Module):
    """A linear map, unless it is left out, and beside it a hidden layer with residual blocks."""

    def __init__(self, width_in: int, width_out: int, hidden: int, blocks: int = 1, linear: bool = True) -> None:
        super().__init__()
        self.skip = nn.Linear(width_in, width_out) if linear else None
        self.enter = nn.Linear(width_in, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.leave = nn.Linear(hidden, width_out)

    def forward(self, rows: Tensor) -> Tensor:
        """(..., E) to (..., T)."""
        hidden = nn.functional.gelu(self.enter(rows))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden) if self.skip is None else self.skip(rows) + self.leave(hidden)


class WindowMLP(Rival):
    """A residual MLP that sees the cells around its own: the same one for every cell.

    Args:
        cell_in: c.
        cell_out: k.
        hidden: of the MLP.
        blocks: likewise.
    """

    def __init__(self, cell_in: int, cell_out: int, hidden: int, blocks: int = 1) -> None:
        super().__init__()
        self.cell = ResidualMLP(window_width(cell_in, RADIUS), cell_out, hidden, blocks)

    def forward(self, inputs: Tensor, course: Course) -> list[Tensor]:
        """Look around every cell; see `Rival`."""
        return [self.cell(windows(inputs, course.face, RADIUS))]
