"""A trained model on disk: `model.safetensors` and `config.json`, written so that a crash cannot break them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..config import EnergyConfig
from ..core import FlowProcessor, create_processor
from ..sharing import CONFIG, WEIGHTS, read_weights, write_model
from ..sharing.model_files import require_model
from .unwrapping import unwrap_processor

__all__ = ["CONFIG", "WEIGHTS", "load_initial_weights", "load_model", "load_weights", "save_model"]


def save_model(processor: nn.Module, folder: str | Path) -> None:
    """Write weights and configuration to a folder; nothing there changes before both are on the disk.

    Args:
        processor: the model; where `torch.compile` or another wrapper holds it, the model inside is written.
        folder: where to.
    """
    processor = unwrap_processor(processor)
    write_model(Path(folder), processor.state_dict(), processor.config)


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> FlowProcessor:
    """Build the model that `save_model` wrote, ready to train; `FlowProcessor.from_pretrained` gives it in `eval()`.

    Raises:
        ValueError: a file is missing, is not what it claims, or weights and configuration do not belong together.
    """
    folder = Path(folder)
    require_model(folder)
    processor = create_processor(EnergyConfig.load(folder / CONFIG))
    load_weights(processor, folder)
    return processor.to(device)


def load_weights(processor: FlowProcessor, folder: Path) -> None:
    """Read the weights of a model folder into a model.

    Raises:
        ValueError: the file is not what it claims, or its weights are not this model's.
    """
    processor.load_state_dict(read_weights(folder / WEIGHTS, processor.state_dict()))


def load_initial_weights(processor: FlowProcessor, folder: Path) -> None:
    """Start a model from the weights of a model folder; the size of its data will be measured anew.

    Raises:
        ValueError: the file is missing, is not what it claims, or its weights are not this model's.
    """
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder / WEIGHTS}: no such file; give a model folder, such as RUN/best")
    load_weights(processor, folder)
    processor.mapper.calibrated.zero_()
