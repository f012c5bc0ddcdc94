"""Configuration: frozen, validated, explicit."""

from .base_config import BaseConfig
from .energy_config import EnergyConfig
from .presets import (
    DEBUG_CONFIG,
    EXPERIMENT_CONFIG,
    OPTIMIZED_CONFIG,
    PRESETS,
    TINY_CONFIG,
    create_config,
    create_debug_config,
    create_experiment_config,
    create_optimized_config,
    create_tiny_config,
)

__all__ = [
    "DEBUG_CONFIG",
    "EXPERIMENT_CONFIG",
    "OPTIMIZED_CONFIG",
    "PRESETS",
    "TINY_CONFIG",
    "BaseConfig",
    "EnergyConfig",
    "create_config",
    "create_debug_config",
    "create_experiment_config",
    "create_optimized_config",
    "create_tiny_config",
]
