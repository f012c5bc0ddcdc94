"""Where a number stopped being finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..core import FlowProcessor


class NonFiniteError(FloatingPointError):
    """A loss or gradient is NaN or infinite; nothing was updated. The message names step, rows and first module."""


def first_nonfinite(processor: FlowProcessor, inputs: Tensor) -> str:
    """Run the batch again and name what was not finite first: input, a parameter, or a module's output.

    Args:
        processor: the model, as it was when the loss went wrong.
        inputs: (B, E in) the batch.
    """
    if not bool(torch.isfinite(inputs).all()):
        return "the input"
    for name, weight in processor.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            return f"parameter {name}"
    found: list[str] = []
    handles = [module.register_forward_hook(_watch(name, found)) for name, module in processor.named_modules() if name]
    try:
        with torch.no_grad():
            output = processor(inputs)
    except FloatingPointError:
        output = None
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"the output of module {found[0]}"
    if output is None or not bool(torch.isfinite(output).all()):
        return "the output of module mapper"
    return "the loss or its gradient: the model's output is finite"


def first_nonfinite_gradient(model: nn.Module) -> str:
    """Name the first parameter whose gradient is not finite."""
    for name, weight in model.named_parameters():
        if weight.grad is not None and not bool(torch.isfinite(weight.grad).all()):
            return f"the gradient of {name}"
    return "the norm of the gradient, though every gradient is finite"


def _watch(name: str, found: list[str]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, Tensor) else output[0]
        parts = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        if any(part.is_floating_point() and not bool(torch.isfinite(part).all()) for part in parts):
            found.append(name)

    return hook
