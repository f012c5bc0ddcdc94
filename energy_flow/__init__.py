"""Energy Flow: embeddings sent as flows of energy through a 3D lattice, trained end to end.

The names below are imported when they are first used, so that what needs no torch does not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import EnergyConfig, create_config
    from .core import EnergyCarrier, EnergyLattice, FlowProcessor, FlowResult, SimpleNeuron, create_processor
    from .models import load
    from .training import EnergyTrainer, load_model, save_model

__version__ = "0.1.0"

__all__ = [
    "EnergyCarrier",
    "EnergyConfig",
    "EnergyLattice",
    "EnergyTrainer",
    "FlowProcessor",
    "FlowResult",
    "SimpleNeuron",
    "create_config",
    "create_processor",
    "load",
    "load_model",
    "save_model",
]

_PLACES = {
    "config": ("EnergyConfig", "create_config"),
    "core": ("EnergyCarrier", "EnergyLattice", "FlowProcessor", "FlowResult", "SimpleNeuron", "create_processor"),
    "models": ("load",),
    "training": ("EnergyTrainer", "load_model", "save_model"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, or one of the packages `config`, `core`, `models` and `training`, imported now."""
    if name in _PLACES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_PLACE_OF[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PLACES})
