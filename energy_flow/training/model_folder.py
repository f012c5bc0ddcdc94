"""A trained model on disk: `model.safetensors` and `config.json`, written so that a crash cannot break them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..config import EnergyConfig
from ..core import FlowProcessor, create_processor
from ..utils.files import replace_file
from .unwrapping import unwrap_processor

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_model(processor: nn.Module, folder: str | Path) -> None:
    """Write weights and configuration to a folder; each file is replaced whole or not at all.

    Args:
        processor: the model; where `torch.compile` or another wrapper holds it, the model inside is written.
        folder: where to.
    """
    processor = unwrap_processor(processor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in processor.state_dict().items()}
    replace_file(folder / WEIGHTS, lambda path: save_file(state, path))
    replace_file(folder / CONFIG, lambda path: path.write_text(processor.config.to_json(), encoding="utf-8"))


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> FlowProcessor:
    """Build the model that `save_model` wrote.

    Raises:
        ValueError: a file is missing, is not what it claims, or weights and configuration do not belong together.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file; give a model folder, such as RUN/best")
    config = EnergyConfig.load(folder / CONFIG)
    processor = create_processor(config)
    load_weights(processor, folder)
    return processor.to(device)


def load_weights(processor: FlowProcessor, folder: Path) -> None:
    """Read the weights of a model folder into a model.

    Raises:
        ValueError: the file is not what it claims, or its weights are not this model's.
    """
    try:
        state = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS}: not a whole safetensors file ({error}); give another copy") from error
    _check_shapes(folder / WEIGHTS, processor.state_dict(), state)
    processor.load_state_dict(state)


def load_initial_weights(processor: FlowProcessor, folder: Path) -> None:
    """Start a model from the weights of a model folder; the size of its data will be measured anew.

    Raises:
        ValueError: the file is missing, is not what it claims, or its weights are not this model's.
    """
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder / WEIGHTS}: no such file; give a model folder, such as RUN/best")
    load_weights(processor, folder)
    processor.mapper.calibrated.zero_()


def _check_shapes(path: Path, wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tuple(state[name].shape) if name in state else None for state in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path}: {name} has shape {shapes[1]}, its configuration wants {shapes[0]}; "
                "load weights with the configuration that they were saved with"
            )
