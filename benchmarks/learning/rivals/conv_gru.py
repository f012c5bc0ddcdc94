"""A convolutional GRU (Shi et al. 2015; as Neural GPU, Kaiser and Sutskever 2016) with the input at every step.

Shapes as in `rival`; `d` channels of the state, `e` of what enters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from energy_flow.data.pairs import Size

from .rival import Begun, Looped

AROUND = 9  # the 3 x 3 cells that a step sees


class Channels(NamedTuple):
    """Of a convolutional GRU."""

    state: int  # d
    entered: int  # e


def channels_of(quarters: int) -> Channels:
    """As many weights in the kernels as with `quarters / 4` channels of either kind.

    The state has the nearest whole number of channels; what enters makes up for what that adds or takes.
    """
    state = max(1, round(quarters / 4))
    return Channels(state, max(1, round((2 * (quarters / 4) ** 2 - state**2) / state)))


class ConvGRU(Looped):
    """Gates and candidate see the 3 x 3 cells around, of the input and of the state.

    The kernels are matrices of `nn.Linear`, so that they decay as all other matrices do.

    Args:
        cell_in: c.
        cell_out: k.
        quarters: of its size, see `channels_of`.
    """

    def __init__(self, cell_in: int, cell_out: int, quarters: int) -> None:
        super().__init__()
        self.channels = channels_of(quarters)
        state, entered = self.channels
        self.enter = nn.Linear(cell_in, entered)
        self.gates = nn.Linear(AROUND * (entered + state), 2 * state)
        self.candidate = nn.Linear(AROUND * (entered + state), state)
        self.leave = nn.Linear(state, cell_out)

    def begin(self, inputs: Tensor, face: Size) -> Begun:
        """What the input adds to gates and candidate (B, 3 d, rows, columns); the state is 0 before the first step."""
        columns, rows = face
        image = self.enter(inputs).transpose(1, 2).unflatten(2, (rows, columns))
        image = image.contiguous(memory_format=torch.channels_last)
        products = [
            F.conv2d(image, kernel_of(part)[:, : self.channels.entered], part.bias, padding=1)
            for part in (self.gates, self.candidate)
        ]
        return Begun(tuple(products), torch.zeros_like(products[1]))

    def step(self, entered: tuple[Tensor, Tensor], state: Tensor) -> Tensor:
        """What to keep and what to forget, then the candidate (Cho et al. 2014)."""
        own = slice(self.channels.entered, None)
        gates = entered[0] + F.conv2d(state, kernel_of(self.gates)[:, own], padding=1)
        keep, remember = torch.sigmoid(gates).chunk(2, dim=1)
        heard = F.conv2d(remember * state, kernel_of(self.candidate)[:, own], padding=1)
        return torch.lerp(torch.tanh(entered[1] + heard), state, keep)

    def read(self, state: Tensor) -> Tensor:
        """A linear map of every cell."""
        return self.leave(state.flatten(2).transpose(1, 2))


def kernel_of(matrix: nn.Linear) -> Tensor:
    """(out, in, 3, 3) the weights of a linear map, as a kernel."""
    return matrix.weight.unflatten(1, (-1, 3, 3))
