"""One step of a stacked GRU, as equations in torch's own operations.

Equations and parameter layout are those of `torch.nn.GRU` (Cho et al. 2014, the variant with the reset gate applied
after the recurrent product), so that a state dict of one loads into the other. `core/execution/gru_step.py` holds the
same step with its backward pass written out.

Shapes: `F` rows, `I` input size, `N` hidden size, `L` layers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .constants import wide_dtype


class LayerWeights(NamedTuple):
    """The weights of one layer; the thirds of the rows are reset, update and new."""

    weight_ih: Tensor  # (3 N, I or N)
    weight_hh: Tensor  # (3 N, N)
    bias_ih: Tensor  # (3 N,)
    bias_hh: Tensor  # (3 N,)


class StackedGRUCell(nn.Module):
    """`L` GRU layers that advance every row by one step.

    Args:
        input_size: I.
        hidden_size: N.
        num_layers: L.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size
            shapes = LayerWeights((3 * hidden_size, width), (3 * hidden_size, hidden_size), *[(3 * hidden_size,)] * 2)  # type: ignore[arg-type]
            for name, shape in shapes._asdict().items():
                weight = torch.empty(shape).uniform_(-bound, bound)
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(weight))

    def layer_weights(self) -> list[LayerWeights]:
        """The weights, layer by layer."""
        names = LayerWeights._fields
        return [
            LayerWeights(*(getattr(self, f"{name}_l{layer}") for name in names)) for layer in range(self.num_layers)
        ]

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Advance every row.

        Args:
            inputs: (F, I).
            hidden: (L, F, N).

        Returns:
            (L, F, N) the next hidden states, and (F, N) those of the last layer, which are the output.
        """
        return gru_step(inputs, hidden, self.layer_weights())


def gru_step(inputs: Tensor, hidden: Tensor, weights: list[LayerWeights]) -> tuple[Tensor, Tensor]:
    """The step of all layers; shapes are those of `StackedGRUCell.forward`."""
    states, below = [], inputs
    for layer, before in zip(weights, hidden, strict=True):
        from_input = F.linear(below, layer.weight_ih, layer.bias_ih)
        from_state = F.linear(before.to(from_input.dtype), layer.weight_hh, layer.bias_hh)
        below = gru_gates(from_input, from_state, before.to(from_input.dtype))
        states.append(below)
    return torch.stack(states), below


def gru_gates(from_input: Tensor, from_state: Tensor, before: Tensor) -> Tensor:
    """The gates of a layer, in float32 at least.

    Args:
        from_input: (F, 3 N) the input's product, with its bias.
        from_state: (F, 3 N) the hidden state's.
        before: (F, N) hidden states.

    Returns:
        (F, N) the next hidden states, in the dtype of those before.
    """
    wide = wide_dtype(from_input.dtype)
    reset_in, update_in, new_in = from_input.to(wide).chunk(3, dim=1)
    reset_state, update_state, new_state = from_state.to(wide).chunk(3, dim=1)
    reset = torch.sigmoid(reset_in + reset_state)
    update = torch.sigmoid(update_in + update_state)
    new = torch.tanh(new_in + reset * new_state)
    return torch.lerp(new, before.to(wide), update).to(before.dtype)
