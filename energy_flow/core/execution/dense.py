"""Neuron and carrier over all rows: the forms in which they run. Nearly all the work is here.

Shapes: `F` rows, `P` perceived numbers, `H` the neuron's hidden width, `C` energy channels, `L` layers, `N` hidden
size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..energy_carrier import CarrierOutput, EnergyCarrier
from ..flows import Place
from ..gru import gru_step
from ..simple_neuron import SimpleNeuron, gelu
from .acting import Acts, acts_of, decide
from .first_layer import columns_of
from .gru_step import Signal, written_out_step
from .weights import DenseWeights

Update = tuple[CarrierOutput, Tensor]
MOST_VARIANTS = 64  # compiled forms in one process: launch or not, gradients or not, precision, configuration


def call_modules(
    neuron: nn.Module, carrier: nn.Module, features: Tensor, energy: Tensor, place: Place, hidden: Tensor
) -> Update:
    """Neuron and carrier as the modules they are, over (F, P) features."""
    return carrier(neuron(features), energy, hidden, place)


def gathered_layer(features: Tensor, weights: DenseWeights) -> Tensor:
    """(F, P) features to (F, H), as the layer is written."""
    return F.linear(features.to(weights.dtype), weights.perceive, weights.perceive_bias)


def carrier_inputs(first: Tensor, energy: Tensor, weights: DenseWeights) -> Tensor:
    """(F, H) the neuron's first layer and (F, C) energies to the (F, I) inputs of the GRU's first product."""
    signal = gelu(first)
    if weights.project is not None:
        signal = F.linear(signal, *weights.project)
    return torch.cat((signal, energy.to(signal.dtype)), dim=1)


class FusedForms:
    """Neuron and carrier of the package's own, with the backward passes written out; made for one run.

    Args:
        neuron: the neuron.
        carrier: the carrier.
        weights: of both.
    """

    def __init__(self, neuron: SimpleNeuron, carrier: EnergyCarrier, weights: DenseWeights) -> None:
        self.carrier, self.weights, self.columns = carrier, weights, columns_of(neuron)
        self._acts: Acts | None = None
        self._asked = False

    def from_first_layer(self, first: Tensor, energy: Tensor, place: Place, hidden: Tensor | None) -> Update:
        """From (F, H) the neuron's first layer on; `hidden` is (L, F, N), or None for zeros."""
        hidden = None if hidden is None else hidden.to(self.weights.dtype)
        states, top = written_out_step(self._inputs(first, energy), hidden, self.weights.layers)
        return self._decide(top, energy, place), states

    def in_pool(self, step: Any, first: Tensor, energy: Tensor, place: Place, _: None) -> Update:
        """The same without gradients, the states being advanced by a pool's `step`."""
        states, top = step(self._inputs(first, energy))
        return self._decide(top, energy, place), states

    def _inputs(self, first: Tensor, energy: Tensor) -> Tensor:
        if self.weights.project is not None:
            return carrier_inputs(first, energy, self.weights)
        signal = Signal.apply(first, energy)
        assert isinstance(signal, Tensor)
        return signal

    def _decide(self, top: Tensor, energy: Tensor, place: Place) -> CarrierOutput:
        if not self._asked:
            self._asked, self._acts = True, acts_of(self.carrier, place)
        return decide(self.carrier, self._acts, top, energy, place)


def plain_update(
    neuron: SimpleNeuron,
    carrier: EnergyCarrier,
    weights: DenseWeights | None,
    features: Tensor,
    energy: Tensor,
    place: Place,
    hidden: Tensor | None,
) -> Update:
    """The equations alone, for the compiler, which writes kernels and backward pass itself."""
    if weights is None:
        assert hidden is not None  # modules take states as they are
        return call_modules(neuron, carrier, features, energy, place, hidden)
    inputs = carrier_inputs(gathered_layer(features, weights), energy, weights)
    if hidden is None:
        shape = len(weights.layers), inputs.shape[0], weights.layers[0].weight_hh.shape[1]
        states, top = gru_step(inputs, inputs.new_zeros(shape), list(weights.layers))
    else:
        states, top = gru_step(inputs, hidden.to(weights.dtype), list(weights.layers))
    return carrier.decide(top, energy, place), states


@cache
def compiled_update(graphed: bool = False) -> Any:
    """The compiled form, one for all models of the process; what cannot be compiled as a whole is an error."""
    import torch._dynamo  # slow, and not everyone compiles

    torch._dynamo.config.recompile_limit = max(MOST_VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(plain_update, fullgraph=True, mode="reduce-overhead" if graphed else None)


class WhileItCompiles:
    """The compiled form until the compiler fails; from then on, in this process, the equations as they are."""

    failed = False

    def form(self, graphed: bool, on_failure: Callable[[str], None]) -> Any:
        """What to call now. A step that is computed again in the backward pass calls what it has called first."""
        return plain_update if self.failed else partial(self._try, graphed, on_failure)

    def _try(self, graphed: bool, on_failure: Callable[[str], None], *arguments: Any) -> Update:
        try:
            return compiled_update(graphed)(*arguments)
        except _compiler_errors() as error:
            if not self.failed:
                self.failed = True
                on_failure((str(error).strip() or type(error).__name__).splitlines()[0])
        return plain_update(*arguments)


while_it_compiles = WhileItCompiles()


def _compiler_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

    return TorchDynamoException, FailOnRecompileLimitHit, ConstraintViolationError
