"""The shapes of paths, jumps and trees, added up batch by batch.

Shapes: `Q` flows, `M` moves.
"""

from __future__ import annotations

import torch

from .routes import Routes


class Shapes:
    """Sums over flows and moves."""

    def __init__(self) -> None:
        self._flows = self._moves = self._launched = self._faded = 0
        self._sums = torch.zeros(4, dtype=torch.float64)
        self._longest = self._deepest = 0

    def observe(self, routes: Routes) -> None:
        """Add the flows of some samples."""
        self._flows += len(routes.sample)
        self._moves += len(routes.flow)
        self._launched += int((routes.parent < 0).sum())
        self._faded += int((routes.arrival < 0).sum())
        columns = (routes.steps, routes.drift, routes.sideways, routes.jump)
        self._sums += torch.stack([column.double().sum() for column in columns])
        self._longest = max(self._longest, int(routes.jump.max()))
        self._deepest = max(self._deepest, int(routes.generation.max()))

    def measures(self) -> dict[str, float]:
        """Means over flows or moves, and the largest.

        Returns:
            steps: moves of a flow. drift: distance between its first and last place, in sites. sideways: distance of a
            move along x and y, in sites. jump: cells of a move along z, and `longest_jump`. children: that a launched
            flow and its descendants started. tree_depth: most splits between a launch and a flow. faded: share of the
            flows that faded.
        """
        steps, drift, sideways, jump = self._sums.tolist()
        return {
            "steps": steps / self._flows,
            "drift": drift / self._flows,
            "sideways": sideways / max(1, self._moves),
            "jump": jump / max(1, self._moves),
            "longest_jump": float(self._longest),
            "children": (self._flows - self._launched) / max(1, self._launched),
            "tree_depth": float(self._deepest),
            "faded": self._faded / self._flows,
        }
