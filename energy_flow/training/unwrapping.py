"""The model inside what torch wraps around it."""

from __future__ import annotations

from torch import nn

from ..core import FlowProcessor
from ..utils.logging import logger

HELD_AS = ("_orig_mod", "module")  # by torch.compile; by the parallel modules and AveragedModel


def unwrap_processor(model: nn.Module) -> FlowProcessor:
    """The `FlowProcessor` itself, or the one inside wrappers; what was taken off is logged.

    Raises:
        ValueError: there is none.
    """
    wrappers, inside = [], model
    while not isinstance(inside, FlowProcessor):
        held = (vars(inside).get("_modules") or {}) if isinstance(inside, nn.Module) else {}
        name = next((one for one in HELD_AS if held.get(one) is not None), None)
        if name is None:
            raise ValueError(
                f"processor is a {type(model).__name__} without a FlowProcessor inside; give a FlowProcessor, or one "
                "that torch.compile, DistributedDataParallel, DataParallel or AveragedModel wraps"
            )
        wrappers.append(type(inside).__name__)
        inside = held[name]
    if wrappers:
        logger.info(
            "the model inside %s is used, not the wrapper: training exchanges gradients between processes itself, and "
            "compile = 'on' in the configuration compiles",
            " around ".join(wrappers),
        )
    return inside
