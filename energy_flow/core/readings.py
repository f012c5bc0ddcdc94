"""What is read out along the way, before the flows have arrived.

Shapes: `B` samples, `S` sites, `C` energy channels, `R` read-outs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Readings:
    """What is read out along the way: after each of the last steps of an untrained path.

    Args:
        path: steps of an untrained path.
        share: of these steps, from the end; 0 reads nothing.

    Raises:
        ValueError: no share from 0 to 1.
    """

    def __init__(self, path: int, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"along = {share}; give a share of the path, 0 to 1")
        self._wanted = max(1, math.floor(share * path)) if share else 0  # the output among them
        self._silent = path - self._wanted
        self._steps, self._last = 0, path - 1
        self._read: list[Tensor] = []

    def due(self) -> bool:
        """A step was taken that was not the last; whether it is read out."""
        self._steps += 1
        return bool(self._wanted) and self._silent < self._steps <= self._last

    def add(self, energies: Tensor) -> None:
        """(B, S, C) what was read."""
        self._read.append(energies)

    def together(self, energies: Tensor) -> Tensor | None:
        """(R, B, S, C) all that was read, and for the steps that nobody needed (B, S, C) what arrived."""
        if not self._wanted:
            return None
        more = [energies] * (self._wanted - len(self._read))
        return torch.stack([*(one.to(energies.dtype) for one in self._read), *more])
