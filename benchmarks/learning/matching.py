"""Models of equal size: how many parameters, how much work, and the width that meets a budget of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Model = TypeVar("Model", bound=nn.Module)


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


ON_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}  # torch does not know its work


def count_parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def forward_flops(model: nn.Module, rows: torch.Tensor, *arguments: Any) -> float:
    """Floating-point operations of the products of a forward pass, attention's among them, per row.

    Args:
        model: it is put into training mode.
        rows: (B, E), what it is given.
        arguments: what else it is given.
    """
    model.train()
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        model(rows, *arguments)
    return counter.get_total_flops() / len(rows)


def closest(build: Callable[[int], Model], cost: Callable[[nn.Module], float], budget: float) -> Model:
    """The model of the width whose cost is nearest to the budget; the cost must grow with the width.

    Args:
        build: a model of a width, from 1.
        cost: of a model; it is asked on the device `meta`, where nothing is computed.
        budget: the wanted cost.
    """

    def cost_of(width: int) -> float:
        with torch.device("meta"):
            return cost(build(width))

    low, high = 1, 2
    while cost_of(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_of(middle) < budget else (low, middle)
    return build(min((low, high), key=lambda width: abs(cost_of(width) - budget)))


def of_parameters(build: Callable[[int], Model], parameters: int) -> Model:
    """The model whose parameters are nearest to a number."""
    return closest(build, count_parameters, parameters)


def of_flops(build: Callable[[int], Model], flops: float, shape: Sequence[int], *arguments: Any) -> Model:
    """The model whose forward pass on rows of this shape is nearest to so much work per row."""
    return closest(build, partial(_flops_of_shape, shape=tuple(shape), arguments=arguments), flops)


def _flops_of_shape(model: nn.Module, shape: tuple[int, ...], arguments: Sequence[Any]) -> float:
    return forward_flops(model, torch.empty(shape), *arguments)
