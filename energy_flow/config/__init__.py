"""Configuration: frozen, validated, explicit."""

from . import presets as _presets
from .base_config import BaseConfig
from .box import Box
from .energy_config import EnergyConfig
from .presets import (
    PRESETS,
    create_config,
    create_debug_config,
    create_exchange_config,
    create_experiment_config,
    create_grid_config,
    create_optimized_config,
    create_pointer_config,
    create_tiny_config,
)
from .registry import ENERGY_RULES, FACES, MOVERS, PIECES, READERS, Registry

DEBUG_CONFIG: EnergyConfig
EXPERIMENT_CONFIG: EnergyConfig
OPTIMIZED_CONFIG: EnergyConfig
TINY_CONFIG: EnergyConfig

__all__ = [
    "DEBUG_CONFIG",
    "ENERGY_RULES",
    "EXPERIMENT_CONFIG",
    "FACES",
    "MOVERS",
    "OPTIMIZED_CONFIG",
    "PIECES",
    "PRESETS",
    "READERS",
    "TINY_CONFIG",
    "BaseConfig",
    "Box",
    "EnergyConfig",
    "Registry",
    "create_config",
    "create_debug_config",
    "create_exchange_config",
    "create_experiment_config",
    "create_grid_config",
    "create_optimized_config",
    "create_pointer_config",
    "create_tiny_config",
]


def __getattr__(name: str) -> EnergyConfig:
    """The presets as constants, made when they are asked for."""
    return _presets.__getattr__(name)
