"""One step of a stacked GRU: two products and one pointwise pass a layer, forward and backward written out.

Equations and parameter layout are those of `torch.nn.GRU` (Cho et al. 2014, the variant with the reset gate applied
after the recurrent product), so that a state dict of one loads into the other.

Shapes: `F` rows, `I` input size, `N` hidden size, `L` layers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .flow_pool import FlowPool


class LayerWeights(NamedTuple):
    """The weights of one layer; the thirds of the rows are reset, update and new."""

    weight_ih: Tensor  # (3 N, I or N)
    weight_hh: Tensor  # (3 N, N)
    bias_ih: Tensor  # (3 N,)
    bias_hh: Tensor  # (3 N,)


class Gates(NamedTuple):
    """What the backward pass of a layer needs beside its inputs: (F, N) each."""

    reset: Tensor
    update: Tensor
    new: Tensor
    state: Tensor  # the recurrent product's part of `new`, before the reset gate


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

    def weights(self) -> tuple[LayerWeights, ...]:
        """The layers' weights, in the arithmetic that autocast asks for: take them once for all steps of a run."""
        device = self.weight_ih_l0.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight_ih_l0.dtype
        return tuple(
            LayerWeights(*(getattr(self, f"{name}_l{layer}").to(dtype) for name in LayerWeights._fields))
            for layer in range(self.num_layers)
        )

    def forward(
        self,
        inputs: Tensor,
        hidden: Tensor | None,
        weights: tuple[LayerWeights, ...] | None = None,
        pool: FlowPool | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Advance every row.

        Args:
            inputs: (F, I).
            hidden: (L, F, N); None is a state of zeros, whose products need not be taken.
            weights: what `weights()` gave, where they are at hand.
            pool: without gradients, where the hidden states are and are advanced in place.

        Returns:
            (L, F, N) the next hidden states, and (F, N) those of the last layer, which are the output.
        """
        weights = self.weights() if weights is None else weights
        dtype = weights[0].weight_ih.dtype
        if pool is not None:
            return _advance_in_place(inputs.to(dtype), weights, pool, at_rest=hidden is None)
        flat = [weight for layer in weights for weight in layer]
        states, top = StackedGRUStep.apply(inputs.to(dtype), None if hidden is None else hidden.to(dtype), *flat)  # type: ignore[misc]
        return states, top


class StackedGRUStep(torch.autograd.Function):
    """The step of all layers. Autograd's own backward pass would keep and move about twice as much (LOG)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, hidden: Tensor | None, *flat: Tensor) -> tuple[Tensor, Tensor]:
        """(F, I) inputs, (L, F, N) hidden states, and the fields of `LayerWeights`, layer by layer."""
        layers = _by_layer(flat)
        rows, size = inputs.shape[0], layers[0].weight_hh.shape[1]
        states, below = inputs.new_empty(len(layers), rows, size), inputs
        kept: list[Tensor] = []
        for layer, weights in enumerate(layers):
            from_input = F.linear(below, weights.weight_ih, weights.bias_ih)
            if hidden is None:
                from_state, before = weights.bias_hh.expand(rows, -1), inputs.new_zeros(()).expand(rows, size)
            else:
                from_state, before = F.linear(hidden[layer], weights.weight_hh, weights.bias_hh), hidden[layer]
            after, gates = open_gates(from_input, from_state, before)
            states[layer] = after
            below = after
            kept += gates
        ctx.save_for_backward(inputs, hidden, states, *flat, *kept)
        ctx.set_materialize_grads(False)
        return states, below

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_states: Tensor | None, to_top: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of inputs, hidden states and weights."""
        if to_states is None and to_top is None:
            return (None,) * len(ctx.needs_input_grad)
        inputs, hidden, states, *rest = ctx.saved_tensors
        count = states.shape[0]
        layers, kept = _by_layer(rest[: 4 * count]), rest[4 * count :]
        to_hidden = None if hidden is None else torch.empty_like(hidden)
        to_weights: list[Tensor | None] = []
        above: Tensor | None = to_top
        for layer in reversed(range(count)):
            weights, gates = layers[layer], Gates(*kept[4 * layer : 4 * layer + 4])
            before = None if hidden is None else hidden[layer]
            from_input, from_state, through = close_gates(_sum(to_states, layer, above), before, gates)
            below = inputs if layer == 0 else states[layer - 1]
            to_weight_hh = None
            if hidden is not None and to_hidden is not None:
                torch.addmm(through, from_state, weights.weight_hh, out=to_hidden[layer])
                to_weight_hh = from_state.t() @ hidden[layer]
            to_weights[:0] = [from_input.t() @ below, to_weight_hh, from_input.sum(0), from_state.sum(0)]
            above = from_input @ weights.weight_ih
        return above, to_hidden, *to_weights


def open_gates(from_input: Tensor, from_state: Tensor, before: Tensor) -> tuple[Tensor, Gates]:
    """The pointwise pass of a layer.

    Args:
        from_input: (F, 3 N) the input's product, with its bias.
        from_state: (F, 3 N) the hidden state's.
        before: (F, N) hidden states.

    Returns:
        (F, N) the next hidden states, `new + update (before - new)`, and what the backward pass needs.
    """
    reset_in, update_in, new_in = from_input.chunk(3, dim=1)
    reset_state, update_state, new_state = from_state.chunk(3, dim=1)
    reset = (reset_in + reset_state).sigmoid_()
    update = (update_in + update_state).sigmoid_()
    state = new_state.clone()  # so that the rest of the product need not be kept
    new = torch.addcmul(new_in, reset, state).mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh: on a CPU 3 times faster
    return torch.lerp(new, before, update), Gates(reset, update, new, state)


def _advance_in_place(
    inputs: Tensor, weights: tuple[LayerWeights, ...], pool: FlowPool, at_rest: bool
) -> tuple[Tensor, Tensor]:
    """The step without gradients: what `StackedGRUStep` computes, in the pool's slots, which start at zeros."""
    states, below = pool.states(inputs.shape[0]), inputs
    for weight, state in zip(weights, states, strict=True):
        from_input, from_state = pool.products(inputs.shape[0])
        torch.addmm(weight.bias_ih, below, weight.weight_ih.t(), out=from_input)
        if at_rest:
            from_state.copy_(weight.bias_hh.expand_as(from_state))
        else:
            torch.addmm(weight.bias_hh, state, weight.weight_hh.t(), out=from_state)
        size = state.shape[1]
        reset, update = from_input[:, : 2 * size].add_(from_state[:, : 2 * size]).sigmoid_().chunk(2, dim=1)
        new = from_input[:, 2 * size :].addcmul_(reset, from_state[:, 2 * size :])
        new.mul_(2).sigmoid_().mul_(2).sub_(1)
        torch.lerp(new, state, update, out=state)
        below = state
    return states, below


def close_gates(gradient: Tensor, before: Tensor | None, gates: Gates) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `open_gates`.

    Args:
        gradient: (F, N) of the next hidden states.
        before: (F, N) hidden states; None is zeros.
        gates: what `open_gates` kept.

    Returns:
        gradients of the two products, (F, 3 N) each, and (F, N) what goes to the hidden states past the products.
    """
    reset, update, new, state = gates
    through = gradient * update
    rest = gradient - through
    to_update = (-new if before is None else before - new).mul_(update).mul_(rest)
    to_new = rest.addcmul_(rest, new * new, value=-1)
    to_state = to_new * reset
    to_reset = (to_state * state).mul_(1 - reset)
    from_input = torch.cat((to_reset, to_update, to_new), dim=1)
    return from_input, torch.cat((to_reset, to_update, to_state), dim=1), through


def _sum(to_states: Tensor | None, layer: int, above: Tensor | None) -> Tensor:
    """What comes to a layer's states from the next step, and from the layer above: one of them at least is there."""
    if to_states is None:
        assert above is not None
        return above
    return to_states[layer] if above is None else to_states[layer] + above


def _by_layer(flat: Any) -> list[LayerWeights]:
    return [LayerWeights(*flat[start : start + 4]) for start in range(0, len(flat), 4)]
