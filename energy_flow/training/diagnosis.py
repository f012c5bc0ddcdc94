"""Where a number stopped being finite, and the batch in which it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..config import Box
from ..core import Execution, FlowProcessor, Prelude
from ..data.reading import Batch
from ..utils.device_manager import DeviceManager
from ..utils.files import replace_file

LOSS_ALONE = "the loss or its gradient: the model's output is finite"


class NonFiniteError(FloatingPointError):
    """A loss or gradient is NaN or infinite; nothing was updated. The message names step, rows and first module."""


def describe(step: int, batch: Batch, where: str) -> str:
    """What happened in a step (from 1), in one line."""
    listed = ", ".join(map(str, batch.rows[:8].tolist())) + (", ..." if len(batch.rows) > 8 else "")
    return (
        f"step {step}: not finite first in {where}; nothing was updated. Rows of the batch: {listed}. "
        "Look at these rows, or lower learning_rate"
    )


def keep_batch(folder: Path, step: int, batch: Batch, where: str) -> None:
    """Write the batch of a step and what was not finite first, so that it can be looked at and run again."""
    folder.mkdir(exist_ok=True)
    inputs, targets = batch.read()
    tensors = {"rows": batch.rows, "inputs": inputs, "targets": targets}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    report = {"step": step, "first": where, "rows": batch.rows.tolist()}
    path = folder / f"step-{step:09d}"
    replace_file(path.with_suffix(".safetensors"), lambda new: save_file(tensors, new))
    replace_file(path.with_suffix(".json"), lambda new: new.write_text(json.dumps(report) + "\n", encoding="utf-8"))


def first_nonfinite(
    processor: FlowProcessor,
    inputs: Tensor,
    devices: DeviceManager,
    box: Box | None = None,
    prelude: Prelude | None = None,
) -> str:
    """Run the batch again and name what was not finite first: input, a parameter, or a module's output.

    Args:
        processor: the model, as it was when the loss went wrong.
        inputs: (B, E in) the batch, on the device.
        devices: the precision of training, in which it is run.
        box: the lattice of the batch, where it is not the model's own.
        prelude: what the batch began with.
    """
    if not bool(torch.isfinite(inputs).all()):
        return "the input"
    if broken := _nonfinite_parameter(processor):
        return broken
    found: list[str] = []
    execution = processor.execution
    processor.execute(Execution())  # a compiled part would not call the hooks
    handles = [module.register_forward_hook(_watch(name, found)) for name, module in processor.named_modules() if name]
    try:
        with torch.no_grad(), devices.autocast():
            output = processor(inputs, box=box, prelude=prelude)
    except FloatingPointError:
        output = None
    finally:
        processor.execute(execution)
        for handle in handles:
            handle.remove()
    if found:
        return f"the output of module {found[0]}"
    if output is None or not bool(torch.isfinite(output).all()):
        return "the output of module mapper"
    return LOSS_ALONE


def first_nonfinite_gradient(model: nn.Module) -> str:
    """Name the first parameter that is not finite, or else the first whose gradient is not."""
    if broken := _nonfinite_parameter(model):
        return broken
    for name, weight in model.named_parameters():
        if weight.grad is not None and not bool(torch.isfinite(weight.grad).all()):
            return f"the gradient of {name}"
    return "the norm of the gradient, though every gradient is finite"


def _nonfinite_parameter(model: nn.Module) -> str:
    names = (name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all()))
    return next((f"parameter {name}" for name in names), "")


def _watch(name: str, found: list[str]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if any(part.is_floating_point() and not bool(torch.isfinite(part).all()) for part in _tensors_of(output)):
            found.append(name)

    return hook


def _tensors_of(output: Any) -> list[Tensor]:
    """The tensors of what a module gives, however it is nested."""
    if isinstance(output, Tensor):
        return [output]
    nested = list(output.values()) if isinstance(output, dict) else output
    return [part for one in nested for part in _tensors_of(one)] if isinstance(nested, list | tuple) else []
