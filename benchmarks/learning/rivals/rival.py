"""What all rivals have in common: cells of a face in, cells out, whatever the size of the face.

Shapes: `B` rows of a batch, `S` cells of a face, `c` numbers of a cell that enter, `k` that are read, `R` read-outs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from energy_flow.core import Prelude
from energy_flow.data.pairs import Size


class Course(NamedTuple):
    """How a batch is run."""

    face: Size  # columns and rows of the cells
    steps: int = 1  # of a network that loops; others ignore this and what follows
    reads: int = 1  # R, how many of the last steps are read out
    prelude: Prelude | None = None  # steps without gradient that are taken before, on other inputs
    noise: float = 0.0  # standard deviation of what every step adds to the state


class Rival(nn.Module, ABC):
    """A network over the cells of a face."""

    @abstractmethod
    def forward(self, inputs: Tensor, course: Course) -> list[Tensor]:
        """Read the cells, once or along the way.

        Args:
            inputs: (B, S, c), cells row by row.
            course: how they are run; the inputs of a prelude are (B, S, c) too.

        Returns:
            R times (B, S, k), the last one is the answer; of a network without loops once.
        """


class Begun(NamedTuple):
    """What a loop begins with."""

    entered: Any  # what every step recalls of the inputs
    state: Tensor


class Looped(Rival):
    """A network that takes the same step again and again, and recalls the inputs at each."""

    @abstractmethod
    def begin(self, inputs: Tensor, face: Size) -> Begun:
        """(B, S, c) cells to what every step recalls of them, and the state before the first."""

    @abstractmethod
    def step(self, entered: Any, state: Tensor) -> Tensor:
        """The state after one step more."""

    @abstractmethod
    def read(self, state: Tensor) -> Tensor:
        """(B, S, k) what a state says."""

    def forward(self, inputs: Tensor, course: Course) -> list[Tensor]:
        """Take the steps, and read after each of the last ones; see `Rival`."""
        entered, state = self.begin(inputs, course.face)
        if course.prelude is not None:
            state = self._wait(course.prelude, course)
        found = []
        for number in range(course.steps):
            state = self.step(entered, noisy(state, course.noise))
            if number >= course.steps - course.reads:
                found.append(self.read(state))
        return found

    @torch.no_grad()
    def _wait(self, prelude: Prelude, course: Course) -> Tensor:
        """The state after the prelude."""
        entered, state = self.begin(prelude.embeddings, course.face)
        for _ in range(prelude.steps):
            state = self.step(entered, noisy(state, course.noise))
        return state


def noisy(state: Tensor, noise: float) -> Tensor:
    """A state with noise of this standard deviation."""
    return state + noise * torch.randn_like(state) if noise else state
