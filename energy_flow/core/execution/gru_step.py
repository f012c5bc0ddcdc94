"""The step of the GRU, and the GELU before it, with their backward passes written out.

`core/gru.py` and `core/simple_neuron.py` have the equations. Autograd's own backward pass would keep and move about
twice as much (LOG). Where a gradient is to be differentiated again, it is taken from the equations instead.

Shapes: `F` rows, `I` input size, `N` hidden size, `L` layers, `H` the neuron's hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor

from ..gru import LayerWeights, gru_step
from ..simple_neuron import gelu

Gradients = tuple[Tensor | None, ...]
NORMAL_PEAK = 1 / math.sqrt(2 * math.pi)  # of the normal density


def written_out_step(inputs: Tensor, hidden: Tensor | None, weights: Sequence[LayerWeights]) -> tuple[Tensor, Tensor]:
    """As `core.gru.gru_step`; `hidden` is (L, F, N), or None for zeros."""
    found = StackedGRUStep.apply(inputs, hidden, *(weight for layer in weights for weight in layer))
    if len(weights) > 1:
        return found  # type: ignore[return-value]
    assert isinstance(found, Tensor)
    return found.unsqueeze(0), found  # the states of a single layer are its output


class StackedGRUStep(torch.autograd.Function):
    """The step of all layers: (F, I) inputs, (L, F, N) hidden states or None for zeros, and the fields of
    `LayerWeights` layer by layer, to (L, F, N) the next states and (F, N) those of the last layer. With a single layer
    these are the same, and (F, N) is all.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, hidden: Tensor | None, *flat: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Keeps, for each layer, the three gates and the recurrent product's part of the new state."""
        layers = by_layer(flat)
        rows, size = inputs.shape[0], layers[0].weight_hh.shape[1]
        states, below = inputs.new_empty(len(layers), rows, size), inputs
        kept: list[Tensor] = []
        for layer, weights in enumerate(layers):
            gates = F.linear(below, weights.weight_ih, weights.bias_ih)
            if hidden is None:
                before, state = inputs.new_zeros(()).expand(rows, size), weights.bias_hh[2 * size :].expand(rows, size)
                open_gates(gates, weights.bias_hh[: 2 * size], state)
            else:
                before, product = hidden[layer], F.linear(hidden[layer], weights.weight_hh, weights.bias_hh)
                state = product[:, 2 * size :].clone()  # so that the rest of the product need not be kept
                open_gates(gates, product[:, : 2 * size], state)
            below = torch.lerp(gates[:, 2 * size :], before, gates[:, size : 2 * size], out=states[layer])
            kept += (gates, state)
        ctx.set_materialize_grads(False)
        ctx.layers = len(layers)
        if ctx.layers == 1:
            ctx.save_for_backward(inputs, hidden, below, *flat, *kept)
            return below
        ctx.save_for_backward(inputs, hidden, states, *flat, *kept)
        return states, below.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Gradients:
        """Gradients of inputs, hidden states and weights."""
        to_states, to_top = gradients if ctx.layers > 1 else (None, gradients[0])
        if to_states is None and to_top is None:
            return (None,) * len(ctx.needs_input_grad)
        inputs, hidden, states, *rest = ctx.saved_tensors
        states = states if ctx.layers > 1 else states.unsqueeze(0)
        flat, kept = rest[: 4 * ctx.layers], rest[4 * ctx.layers :]
        if needs_equations(to_states, to_top):
            return differentiate_equations(_equations, (inputs, hidden, *flat), (to_states, to_top))
        to_hidden = None if hidden is None else torch.empty_like(hidden)
        to_weights: list[Tensor | None] = []
        above = to_top
        for layer, weights in reversed(list(enumerate(by_layer(flat)))):
            gates, state = kept[2 * layer : 2 * layer + 2]
            size = state.shape[1]
            to_gates, through = close_gates(_sum(to_states, layer, above), states[layer], gates, state)
            to_bias = to_gates.sum(0)
            to_weight = to_gates.t() @ (inputs if layer == 0 else states[layer - 1])
            above = to_gates @ weights.weight_ih
            to_gates[:, 2 * size :].mul_(gates[:, :size])  # the recurrent product reaches the new state through reset
            to_state_bias = torch.cat((to_bias[: 2 * size], to_gates[:, 2 * size :].sum(0)))
            if hidden is None or to_hidden is None:
                to_state_weight = torch.zeros_like(weights.weight_hh)
            else:
                torch.addmm(through, to_gates, weights.weight_hh, out=to_hidden[layer])
                to_state_weight = to_gates.t() @ hidden[layer]
            to_weights[:0] = [to_weight, to_state_weight, to_bias, to_state_bias]
        return above, to_hidden, *to_weights


def open_gates(gates: Tensor, from_state: Tensor, state: Tensor) -> None:
    """Turn the input's product into reset, update and new, in place.

    Args:
        gates: (F, 3 N) the input's product, with its bias.
        from_state: (F, 2 N) or (2 N,) the hidden state's part of reset and update.
        state: (F, N) the hidden state's part of new, before the reset gate.
    """
    size = state.shape[1]
    gates[:, : 2 * size].add_(from_state).sigmoid_()
    squash_(gates[:, 2 * size :].addcmul_(gates[:, :size], state))


def squash_(inputs: Tensor) -> Tensor:
    """tanh in place: as a sigmoid, which on a CPU is three times faster; in half precision that rounds .001 to 0."""
    if inputs.dtype in (torch.float32, torch.float64):
        return inputs.mul_(2).sigmoid_().mul_(2).sub_(1)
    return inputs.tanh_()


def close_gates(gradient: Tensor, after: Tensor, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """From the gradient of the next hidden states to that of the input's product.

    Args:
        gradient: (F, N) of the next hidden states.
        after: (F, N) the next hidden states, `new + update (before - new)`.
        gates: (F, 3 N) reset, update and new.
        state: (F, N) the recurrent product's part of new, before the reset gate.

    Returns:
        (F, 3 N), and (F, N) what goes to the hidden states past the products.
    """
    reset, update, new = gates.chunk(3, dim=1)
    to_gates = torch.empty_like(gates)
    to_reset, to_update, to_new = to_gates.chunk(3, dim=1)
    through = gradient * update
    rest = gradient - through
    torch.sub(after, new, out=to_update).mul_(rest)
    torch.ops.aten.tanh_backward.grad_input(rest, new, grad_input=to_new)
    torch.ops.aten.sigmoid_backward.grad_input(to_new * state, reset, grad_input=to_reset)
    return to_gates, through


class Signal(torch.autograd.Function):
    """(F, H) the neuron's first layer and (F, C) energies to `[gelu(first); energy]` (F, H + C), the GRU's inputs."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, energy: Tensor) -> Tensor:
        """Keeps the first layer, and the normal distribution function of it."""
        width = first.shape[1]
        share = torch.mul(first, math.sqrt(0.5)).erf_().add_(1).mul_(0.5)
        signal = first.new_empty(first.shape[0], width + energy.shape[1])
        torch.mul(first, share, out=signal[:, :width])
        signal[:, width:] = energy
        ctx.save_for_backward(first, energy, share)
        return signal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:  # type: ignore[override]
        """The derivative of GELU is the distribution function plus x times the density."""
        first, energy, share = ctx.saved_tensors
        if needs_equations(gradient):
            return differentiate_equations(_signal, (first, energy), (gradient,))
        width = first.shape[1]
        density = torch.mul(first, first).mul_(-0.5).exp_()
        to_first = torch.addcmul(share, density, first, value=NORMAL_PEAK).mul_(gradient[:, :width])
        return to_first, gradient[:, width:].to(energy.dtype)


def _signal(first: Tensor, energy: Tensor) -> tuple[Tensor]:
    return (torch.cat((gelu(first), energy.to(first.dtype)), dim=1),)


def needs_equations(*gradients: Tensor | None) -> bool:
    """Whether a backward pass must be taken from the equations.

    So it is where the gradient is to be differentiated again, and where many backward passes run at once, as for
    vectorized Jacobians.
    """
    return torch.is_grad_enabled() or any(one is not None and is_batched(one) for one in gradients)


def is_batched(gradient: Tensor) -> bool:
    """Whether torch.vmap runs over this gradient, in its new form or the one that autograd still uses."""
    return is_functorch_wrapped_tensor(gradient) or is_legacy_batchedtensor(gradient)


def differentiate_equations(
    equations: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> Gradients:
    """The gradient of a function as a function that can be differentiated again.

    Args:
        equations: in torch's own operations.
        inputs: of the function, as they stood in its graph.
        gradients: of its outputs; None where an output was not used.

    Returns:
        one for each input; None where the input needs none.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # One input may have been computed from another. Views of them have not, so these derivatives are partial ones.
        views = [None if one is None else one.view_as(one) for one in inputs]
        outputs = equations(*views)
    wanted = [view for view in views if view is not None and view.requires_grad]
    used = [index for index, gradient in enumerate(gradients) if gradient is not None]
    found = iter(
        torch.autograd.grad(
            [outputs[index] for index in used],
            wanted,
            [gradients[index] for index in used],
            create_graph=again,
            allow_unused=True,
        )
    )
    return tuple(next(found) if one is not None and one.requires_grad else None for one in inputs)


def _equations(inputs: Tensor, hidden: Tensor | None, *flat: Tensor) -> tuple[Tensor, Tensor]:
    layers = by_layer(flat)
    if hidden is None:
        hidden = inputs.new_zeros(len(layers), inputs.shape[0], layers[0].weight_hh.shape[1])
    return gru_step(inputs, hidden, layers)


def _sum(to_states: Tensor | None, layer: int, above: Tensor | None) -> Tensor:
    """The gradient of a layer's states: from the next step, from the layer above, or from both."""
    if to_states is None:
        assert above is not None
        return above
    return to_states[layer] if above is None else to_states[layer] + above


def by_layer(flat: Sequence[Tensor]) -> list[LayerWeights]:
    """Tensors in the order of `LayerWeights`, layer by layer."""
    return [LayerWeights(*flat[start : start + 4]) for start in range(0, len(flat), 4)]
