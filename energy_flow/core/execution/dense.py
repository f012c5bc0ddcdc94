"""Neuron and carrier over all rows: the forms in which they run. Nearly all the work is here.

Shapes: `F` rows, `P` perceived numbers, `H` the neuron's hidden width, `C` energy channels, `L` layers, `N` hidden size.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..energy_carrier import CarrierOutput, EnergyCarrier
from ..gru import gru_step
from ..perceived import Seen
from ..simple_neuron import SimpleNeuron, gelu
from .gru_step import Gelu, StackedGRUStep
from .weights import DenseWeights

Update = tuple[CarrierOutput, Tensor]
MOST_VARIANTS = 64  # compiled forms in one process: launch or not, gradients or not, precision, configuration


def call_modules(
    neuron: nn.Module, carrier: nn.Module, features: Tensor, energy: Tensor, hidden: Tensor, position: Tensor
) -> Update:
    """Neuron and carrier as the modules they are, over (F, P) features."""
    return carrier(neuron(features), energy, hidden, position)


def first_layer(neuron: SimpleNeuron, seen: Seen, weights: DenseWeights, in_order: bool) -> Tensor:
    """(F, H) the neuron's first layer, without a row of features for every flow.

    The layer is linear. So a piece that is a table of sites or of samples is multiplied as a table, and the flows look
    the products up.

    Args:
        neuron: the package's own.
        seen: what its pieces look at.
        weights: of the run.
        in_order: flow `b S + s` stands at site s of sample b, so that there is nothing to look up.
    """
    state, own, own_weights, by_site, by_sample = seen.state, [], [], None, None
    for piece, weight in zip(neuron.perceived, weights.by_piece, strict=True):
        if piece.of == "flow":
            own.append(piece(seen).to(weights.dtype))
            own_weights.append(weight)
        elif piece.of == "sample":
            by_sample = _plus(by_sample, piece.project(seen, weight))
        else:
            by_site = _plus(by_site, piece.project(seen, weight))
    bias = weights.perceive_bias
    if by_sample is not None:
        by_sample = by_sample + bias
        by_site = by_sample.unsqueeze(1) if by_site is None else by_site + by_sample.unsqueeze(1)
    elif by_site is not None:
        by_site = by_site + bias
    looked_up = None if by_site is None else _rows_of(by_site, seen, in_order)
    if not own:
        return bias.expand(len(state.site), -1) if looked_up is None else looked_up
    rows, weight = (own[0], own_weights[0]) if len(own) == 1 else (torch.cat(own, 1), torch.cat(own_weights, 1))
    return F.linear(rows, weight, bias) if looked_up is None else torch.addmm(looked_up, rows, weight.t())


def _plus(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one + other


def _rows_of(table: Tensor, seen: Seen, in_order: bool) -> Tensor:
    """(F, H) each flow's row of a table (B, S, H), or (B, 1, H) where it is one of samples."""
    sites = seen.state.columns.shape[1]
    if in_order:
        return table.expand(-1, sites, -1).flatten(0, 1)
    if table.shape[1] == 1:
        return table.flatten(0, 1).index_select(0, seen.state.sample)
    return table.flatten(0, 1).index_select(0, seen.state.sample * sites + seen.state.site)


def gathered_layer(features: Tensor, weights: DenseWeights) -> Tensor:
    """(F, P) features to (F, H), as the layer is written."""
    return F.linear(features.to(weights.dtype), weights.perceive, weights.perceive_bias)


def carrier_inputs(first: Tensor, energy: Tensor, weights: DenseWeights, activate: Any) -> Tensor:
    """(F, H) the neuron's first layer and (F, C) energies to the (F, I) inputs of the GRU's first product."""
    signal = activate(first)
    if weights.project is not None:
        signal = F.linear(signal, *weights.project)
    return torch.cat((signal, energy.to(signal.dtype)), dim=1)


def fused_update(
    carrier: EnergyCarrier, weights: DenseWeights, first: Tensor, energy: Tensor, hidden: Tensor | None, position: Tensor
) -> Update:
    """From (F, H) on, with the backward passes written out; `hidden` is (L, F, N), or None for zeros."""
    flat = [weight for layer in weights.layers for weight in layer]
    inputs = carrier_inputs(first, energy, weights, Gelu.apply)
    hidden = None if hidden is None else hidden.to(weights.dtype)
    states, top = StackedGRUStep.apply(inputs, hidden, *flat)  # type: ignore[misc]
    return carrier.decide(top, energy, position), states


def plain_update(
    neuron: SimpleNeuron,
    carrier: EnergyCarrier,
    weights: DenseWeights | None,
    features: Tensor,
    energy: Tensor,
    hidden: Tensor | None,
    position: Tensor,
) -> Update:
    """The equations alone, for the compiler, which writes kernels and backward pass itself."""
    if weights is None:
        assert hidden is not None  # modules take states as they are
        return call_modules(neuron, carrier, features, energy, hidden, position)
    inputs = carrier_inputs(gathered_layer(features, weights), energy, weights, gelu)
    if hidden is None:
        hidden = inputs.new_zeros(len(weights.layers), len(inputs), weights.layers[0].weight_hh.shape[1])
    states, top = gru_step(inputs, hidden.to(weights.dtype), list(weights.layers))
    return carrier.decide(top, energy, position), states


@cache
def compiled_update(graphed: bool = False) -> Any:
    """The compiled form, one for all models of the process; what cannot be compiled as a whole is an error."""
    import torch._dynamo  # slow, and not everyone compiles

    torch._dynamo.config.recompile_limit = max(MOST_VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(plain_update, fullgraph=True, mode="reduce-overhead" if graphed else None)


