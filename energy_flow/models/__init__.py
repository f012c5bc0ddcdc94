"""Small trained models that come with the package, by their names.

A folder each: weights, configuration, a card, and `scores.json` with what every seed scored.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from ..core import FlowProcessor
from ..sharing import CONFIG, WEIGHTS

SCORES = "scores.json"


def names() -> tuple[str, ...]:
    """The names of the models, in the order of the alphabet."""
    return tuple(sorted(path.parent.name for path in _home().glob(f"*/{SCORES}")))


def folder_of(name: str) -> Path:
    """The folder of a model of the package.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in names():
        raise ValueError(f"{name!r} is no model of the package; give one of {', '.join(names())}")
    return _home() / name


def facts_of(name: str) -> dict[str, Any]:
    """What `scores.json` says: data, preset, command, metric, and the scores of every seed and over all.

    Raises:
        ValueError: there is no model of this name.
    """
    return json.loads((folder_of(name) / SCORES).read_text(encoding="utf-8"))


def model_path(place: str | Path) -> Path:
    """Where a model is: the folder itself if it holds one, or else that of the package's model of this name."""
    path = Path(place).expanduser()
    return path if (path / CONFIG).is_file() or str(place) not in names() else folder_of(str(place))


def load(name: str | Path, device: str | torch.device = "cpu") -> FlowProcessor:
    """A trained model, in `eval()`.

    Args:
        name: of a model of the package, such as `maze`; a model folder, such as RUN/best; or a repository on the hub,
            such as `user/maze` (extra hub). A folder that holds a model comes first.
        device: where the weights go.

    Raises:
        ValueError: there is no such model.
    """
    path = model_path(name)
    if "/" not in str(name) and not path.is_dir():
        raise ValueError(
            f"{name}: neither a folder nor a model of the package, which are {', '.join(names())}; "
            "give one of them, or user/name for the hub"
        )
    return FlowProcessor.from_pretrained(path if path.is_dir() else str(name), device=device)


def size_of(name: str) -> int:
    """Bytes of the weights of a model of the package."""
    return (folder_of(name) / WEIGHTS).stat().st_size


def _home() -> Path:
    return Path(str(files("energy_flow.models")))
