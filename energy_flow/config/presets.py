"""The presets, as data: what each changes of `EnergyConfig`'s defaults."""

from __future__ import annotations

from typing import Any

from .energy_config import EnergyConfig

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "lattice_width": 12,
        "lattice_height": 12,
        "lattice_depth": 8,
        "sites": (4, 4),
        "input_embedding_dim": 384,
        "output_embedding_dim": 384,
        "energy_dim": 24,
        "max_active_flows": 32,
        "max_spawn_per_step": 4,
        "initial_steps": 4,
        "carrier_hidden_size": 128,
        "carrier_num_layers": 2,
        "batch_size": 128,
        "epochs": 3,
        "learning_rate": 5e-4,
        "loss_cosine": 1.0,
        "loss_contrastive": 1.0,
    },
    "grid": {
        "lattice_depth": 25,
        "depth_exponent": 1.7,
        "initial_steps": 24,
        "max_jump": 1,
        "mover": "straight",
        "mapping": "tied",
        "energy_dim": 32,
        "output_scale": 6.0,
        "center_inputs": True,
        "energy_rule": "column",
        "coast": 0.03,
        "energy_threshold": 0.0,
        "max_spawn_per_step": 0,
        "max_children": 0,
        "features": ("cross", "recall"),
        "carrier_hidden_size": 48,
        "carrier_num_layers": 1,
        "neuron_hidden_dim": 48,
        "neuron_output_dim": 48,
        "batch_size": 32,
        "epochs": 1,
        "learning_rate": 2e-3,
        "beta2": 0.95,
        "final_learning_rate_ratio": 0.02,
        "weight_decay": 0.02,
        "warmup_steps": 100,
        "ema_decay": 0.995,
        "loss_along": 0.1,  # where a wave is still on its way, an earlier read-out teaches to guess
        "prelude_steps": 60,
    },
    "pointer": {
        "lattice_depth": 3,
        "initial_steps": 2,
        "max_jump": 1,
        "mover": "pointer",
        "reader": "aimed",
        "mapping": "tied",
        "energy_dim": 8,
        "energy_rule": "kept",
        "energy_threshold": 0.0,
        "max_spawn_per_step": 0,
        "max_children": 0,
        "features": ("harmonics", "energy", "attention"),
        "carrier_hidden_size": 32,
        "carrier_num_layers": 1,
        "carrier_reads_energy": False,
        "neuron_hidden_dim": 64,
        "neuron_output_dim": 32,
        "batch_size": 64,
        "epochs": 1,
        "learning_rate": 5e-3,
        "beta2": 0.95,
        "final_learning_rate_ratio": 0.01,
        "warmup_steps": 50,
        "aim_entropy": 0.2,
    },
    "debug": {
        "lattice_width": 20,
        "lattice_height": 20,
        "lattice_depth": 10,
        "sites": (8, 8),
        "max_active_flows": 100,
        "batch_size": 8,
    },
    "experiment": {
        "lattice_width": 50,
        "lattice_height": 50,
        "lattice_depth": 20,
        "sites": (16, 16),
        "max_active_flows": 500,
        "batch_size": 16,
    },
    "optimized": {
        "lattice_width": 100,
        "lattice_height": 100,
        "lattice_depth": 50,
        "sites": (32, 24),
        "max_active_flows": 1000,
        "batch_size": 32,
    },
}

PRESETS["exchange"] = PRESETS["grid"] | {
    "lattice_depth": 17,
    "initial_steps": 16,
    "features": ("energy", "recall", "harmonics", "attention"),
    "place_harmonics": 5,
    "exchange_dim": 24,
    "exchange_heads": 3,
    "loss_along": 0.5,
    "prelude_steps": 0,
}


def create_config(preset: str, **changes: Any) -> EnergyConfig:
    """The configuration of a preset, with some fields changed.

    Raises:
        ValueError: no such preset or field, or a value that does not fit.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset = {preset!r}; give one of {', '.join(PRESETS)}")
    return EnergyConfig.from_dict(PRESETS[preset] | changes)


def create_tiny_config(**changes: Any) -> EnergyConfig:
    """A small lattice and carrier (12x12x8, hidden 128 x 2) for the shipped data on a CPU."""
    return create_config("tiny", **changes)


def create_grid_config(**changes: Any) -> EnergyConfig:
    """Cells on a grid, a flow for each, in a box of any size: energy relaxes towards what entered, all flows march."""
    return create_config("grid", **changes)


def create_exchange_config(**changes: Any) -> EnergyConfig:
    """As `grid`, but every column asks all others of its sample, for faces of one size with up to 6 sites a side."""
    return create_config("exchange", **changes)


def create_pointer_config(**changes: Any) -> EnergyConfig:
    """Flows that carry what they were launched with, unchanged, to the place of the face that their pointer chooses."""
    return create_config("pointer", **changes)


def create_debug_config(**changes: Any) -> EnergyConfig:
    """20x20x10 cells, 64 sites, at most 100 flows, batches of 8."""
    return create_config("debug", **changes)


def create_experiment_config(**changes: Any) -> EnergyConfig:
    """50x50x20 cells, 256 sites, at most 500 flows, batches of 16."""
    return create_config("experiment", **changes)


def create_optimized_config(**changes: Any) -> EnergyConfig:
    """100x100x50 cells, 768 sites, at most 1000 flows, batches of 32."""
    return create_config("optimized", **changes)


def __getattr__(name: str) -> EnergyConfig:
    """`TINY_CONFIG`, `DEBUG_CONFIG`, `EXPERIMENT_CONFIG` and `OPTIMIZED_CONFIG`, made when they are asked for.

    A configuration checks its names against the registries, which are filled after this module is imported.
    """
    preset = name.removesuffix("_CONFIG").lower()
    if name.endswith("_CONFIG") and name == name.upper() and preset in PRESETS:
        return create_config(preset)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
