"""One step of a stacked GRU, written from products and pointwise operations.

Equations and parameter layout are those of `torch.nn.GRU` (Cho et al. 2014, the variant with the reset gate applied
after the recurrent product), so that a state dict of one loads into the other.

Shapes: `F` rows, `I` input size, `N` hidden size, `L` layers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
            shapes = {"weight_ih": (3 * hidden_size, width), "weight_hh": (3 * hidden_size, hidden_size)}
            shapes |= {"bias_ih": (3 * hidden_size,), "bias_hh": (3 * hidden_size,)}
            for name, shape in shapes.items():
                weight = torch.empty(shape).uniform_(-bound, bound)
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(weight))

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """(F, I) inputs and (L, F, N) hidden states to the next hidden states; the last layer's is the output."""
        states = []
        for layer in range(self.num_layers):
            inputs = self._layer(layer, inputs, hidden[layer])
            states.append(inputs)
        return torch.stack(states)

    def _layer(self, layer: int, inputs: Tensor, hidden: Tensor) -> Tensor:
        weight_ih, weight_hh, bias_ih, bias_hh = (
            getattr(self, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        reset_in, update_in, new_in = F.linear(inputs, weight_ih, bias_ih).chunk(3, dim=1)
        reset_state, update_state, new_state = F.linear(hidden, weight_hh, bias_hh).chunk(3, dim=1)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        new = torch.tanh(new_in + reset * new_state)
        return torch.lerp(new, hidden.to(new.dtype), update)  # new + update (hidden - new)
