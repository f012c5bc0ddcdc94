"""The files of a model in its folder: weights, configuration, and a card for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..config import EnergyConfig
from ..utils.files import replace_files

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"  # as the hub calls them


def write_model(folder: Path, weights: Mapping[str, Tensor], config: EnergyConfig, card: str | None = None) -> None:
    """Write a model to a folder; nothing there changes before all of it is on the disk.

    Args:
        folder: where to; it is made where it is missing.
        weights: a state dict.
        config: of the model.
        card: the text for people; None leaves one that is there.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    texts = {CONFIG: config.to_json()} | ({} if card is None else {CARD: card})
    writers: dict[str, Callable[[Path], object]] = {WEIGHTS: lambda path: save_file(state, path, {"format": "pt"})}
    for name, text in texts.items():
        writers[name] = lambda path, text=text: path.write_text(text, encoding="utf-8", newline="\n")
    replace_files(folder, writers)


def require_model(folder: Path) -> None:
    """Refuse a folder without weights or configuration.

    Raises:
        ValueError: it names the file that is missing.
    """
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name}: no such file; give a model folder, such as RUN/best, or a name that "
                "`energy-flow list` shows"
            )


def read_weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read weights for a model.

    Args:
        path: the file.
        wanted: the state dict of the model.

    Raises:
        ValueError: the file is not what it claims, or its weights are not this model's.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); give another copy") from error
    for name in sorted(wanted.keys() | state.keys()):
        shapes = [tuple(weights[name].shape) if name in weights else None for weights in (wanted, state)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path}: {name} has shape {shapes[1]}, its configuration wants {shapes[0]}; "
                "load weights with the configuration that they were saved with"
            )
    return state
