"""The weights of neuron and GRU as the fast forms want them: taken once for all steps of a run.

Shapes: `H` the neuron's hidden width, `U` its output width, `w` width of a piece, `C` energy channels, `N` hidden size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..energy_carrier import EnergyCarrier
from ..gru import LayerWeights, StackedGRUCell
from ..simple_neuron import SimpleNeuron


class DenseWeights(NamedTuple):
    """Weights in the arithmetic of the run."""

    perceive: Tensor  # (H, P)
    perceive_bias: Tensor  # (H,)
    project: tuple[Tensor, Tensor] | None  # (U, H) and (U,); None where the GRU's first layer has them in its product
    layers: tuple[LayerWeights, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return self.perceive.dtype


def take_weights(neuron: SimpleNeuron, carrier: EnergyCarrier) -> DenseWeights:
    """Take the weights, in the arithmetic that autocast asks for.

    The neuron's second layer is linear and only the GRU reads it, so the two products can be one, with the product of
    their matrices: it is so where that is less work for a flow.
    """
    first = neuron.perceive.weight
    device = first.device.type
    autocast = torch.is_autocast_enabled(device) and first.dtype != torch.float64  # autocast leaves float64 alone
    dtype = torch.get_autocast_dtype(device) if autocast else first.dtype
    layers, project = carrier.gru.layer_weights(), (neuron.project.weight, neuron.project.bias)
    with torch.autocast(device, enabled=False):
        output, width = project[0].shape
        if _pays(output, width, carrier.gru.hidden_size):
            layers[0], project = _through(layers[0], *project), None
    perceive = first.to(dtype)
    return DenseWeights(
        perceive,
        neuron.perceive.bias.to(dtype),
        None if project is None else (project[0].to(dtype), project[1].to(dtype)),
        tuple(LayerWeights(*(weight.to(dtype) for weight in layer)) for layer in layers),
    )


def _pays(output: int, hidden: int, gates: int) -> bool:
    """Whether one product of (3 N, H) is less work than one of (U, H) and one of (3 N, U)."""
    return 3 * gates * hidden <= output * hidden + 3 * gates * output


def _through(layer: LayerWeights, weight: Tensor, bias: Tensor) -> LayerWeights:
    """The GRU's first layer over `[g; e]` instead of `[weight g + bias; e]`."""
    width = weight.shape[0]
    signal, energy = layer.weight_ih[:, :width], layer.weight_ih[:, width:]
    return layer._replace(
        weight_ih=torch.cat((signal @ weight, energy), dim=1), bias_ih=torch.addmv(layer.bias_ih, signal, bias)
    )


def is_own(neuron: nn.Module, carrier: nn.Module) -> bool:
    """Whether neuron and carrier are the package's own, unchanged and unwatched: only then may a fast form stand for
    them. A part that was replaced, wrapped, hooked or given another `forward` is called as it is.
    """
    if type(neuron) is not SimpleNeuron or type(carrier) is not EnergyCarrier:
        return False
    if neuron.gate is not None or not carrier.config.carrier_reads_energy:
        return False  # no fast form is written for them
    kinds = ((neuron.perceive, nn.Linear), (neuron.project, nn.Linear), (carrier.gru, StackedGRUCell))
    if any(type(part) is not kind for part, kind in kinds):
        return False
    parts = (neuron, neuron.perceive, neuron.project, carrier, carrier.gru)
    if any(map(is_watched, parts)) or torch_module._has_any_global_hook():
        return False
    weights = [*neuron.perceive.parameters(), *neuron.project.parameters(), *carrier.gru.parameters()]
    return len(weights) == 4 + 4 * carrier.gru.num_layers and len({weight.dtype for weight in weights}) == 1


def is_watched(part: nn.Module) -> bool:
    """Whether a hook looks on, or another method was put in place: then the part must be called as a module."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return any(hooks) or any(callable(getattr(type(part), name, None)) for name in vars(part))
