from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from energy_flow.config import (
    DEBUG_CONFIG,
    EXPERIMENT_CONFIG,
    OPTIMIZED_CONFIG,
    PRESETS,
    EnergyConfig,
    create_config,
    create_debug_config,
    create_experiment_config,
    create_optimized_config,
    create_tiny_config,
)
from energy_flow.config.base_config import read_fields

from .strategies import configs


def test_defaults_are_the_plans() -> None:
    config = EnergyConfig()
    wanted = {
        "max_active_flows": 1000,
        "energy_threshold": 0.1,
        "spawn_threshold": 0.8,
        "max_spawn_per_step": 10,
        "carrier_hidden_size": 1024,
        "carrier_num_layers": 3,
        "neuron_hidden_dim": 64,
        "neuron_output_dim": 128,
        "learning_rate": 1e-4,
        "batch_size": 32,
        "input_embedding_dim": 768,
        "output_embedding_dim": 768,
        "max_children": 2,
    }
    assert {name: getattr(config, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("config", "size", "cells", "sites", "flows", "batch"),
    [
        (DEBUG_CONFIG, (20, 20, 10), 4_000, 64, 100, 8),
        (EXPERIMENT_CONFIG, (50, 50, 20), 50_000, 256, 500, 16),
        (OPTIMIZED_CONFIG, (100, 100, 50), 500_000, 768, 1000, 32),
    ],
)
def test_presets_are_the_plans(config: EnergyConfig, size, cells, sites, flows, batch) -> None:
    assert (config.lattice_width, config.lattice_height, config.lattice_depth) == size
    assert (config.num_cells, config.num_sites, config.max_active_flows, config.batch_size) == (
        cells,
        sites,
        flows,
        batch,
    )
    assert (config.carrier_hidden_size, config.carrier_num_layers) == (1024, 3)


def test_creators_take_changes() -> None:
    for create in (create_tiny_config, create_debug_config, create_experiment_config, create_optimized_config):
        assert create(seed=7) == create().replace(seed=7)
    assert create_optimized_config() == EnergyConfig()


@settings(max_examples=40, derandomize=True, deadline=None)
@given(configs())
def test_round_trips_are_exact(config: EnergyConfig) -> None:
    config = config.replace(learning_rate=1e-05, weight_decay=1e-17 / 3)
    assert EnergyConfig.from_json(config.to_json()) == config
    assert EnergyConfig.from_yaml(config.to_yaml()) == config
    assert hash(EnergyConfig.from_dict(config.to_dict())) == hash(config)


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_files_round_trip(tmp_path, suffix: str) -> None:
    path = tmp_path / f"config.{suffix}"
    DEBUG_CONFIG.save(path)
    assert EnergyConfig.load(path) == DEBUG_CONFIG


def test_yaml_numbers_without_a_point_are_numbers(tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("learning_rate: 1e-3\nsites: [8, 3]\nmax_jump: null\n")
    config = create_config("tiny", **read_fields(path, EnergyConfig))
    assert (config.learning_rate, config.sites, config.max_jump) == (1e-3, (8, 3), None)


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEBUG_CONFIG.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lattice_widht": 3}, "lattice_widht: no such field.*did you mean lattice_width"),
        ({"lattice_depth": 1}, "lattice_depth = 1; give at least 2"),
        ({"lattice_width": "20"}, "lattice_width = '20'.*give a whole number"),
        ({"lattice_width": True}, "lattice_width = True"),
        ({"learning_rate": float("nan")}, "learning_rate = nan.*finite"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0; give a number above 0"),
        ({"energy_threshold": 0.9}, "energy_threshold = 0.9; it must lie below spawn_threshold = 0.8"),
        ({"sites": (21, 1)}, r"sites = \(21, 1\).*20 x 20 cells"),
        ({"sites": (20, 20)}, "raise max_active_flows = 100 to 400"),
        ({"sites": (2, 2, 2)}, "sites = .*give a list of a whole number, a whole number"),
        ({"energy_dim": 3}, "energy_dim = 3; 64 sites must hold 768 numbers: give at least 12"),
        (
            {"features": "all"},
            "features = 'all'; no such perceived piece.*give one of coordinates, relative, energy, sample, site",
        ),
        ({"max_jump": 0}, "max_jump = 0"),
        ({"loss_cosine": 0.0}, "every loss weight is 0"),
        ({"loss_cross_entropy": 1.0}, "target_classes = None"),
        ({"loss_cross_entropy": 1.0, "target_classes": 5}, "target_classes = 5"),
        ({"loss_contrastive": 1.0, "batch_size": 1}, "batch_size = 1"),
        ({"loss_mse": -1.0}, "loss_mse = -1.0; give at least 0"),
        ({"seed": None}, "seed = None"),
    ],
)
def test_bad_values_are_named_with_the_fix(changes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_debug_config(**changes)


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="preset = 'large'; give one of tiny, grid, pointer, debug"):
        create_config("large")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", "{\n  'a': 1}", "config.json:2: not JSON"),
        ("config.json", "[1]", "holds a list"),
        ("config.json", '{"sead": 1}', "config.json: sead: no such field in EnergyConfig; did you mean seed"),
        ("config.yaml", "a: [", "not YAML"),
        ("config.toml", "", "suffix is '.toml'"),
        ("nothing.json", None, "no such file"),
    ],
)
def test_bad_files_are_named(tmp_path, name: str, text: str | None, words: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_fields(path, EnergyConfig)


def test_presets_change_fields_that_exist() -> None:
    names = {field.name for field in dataclasses.fields(EnergyConfig)}
    assert all(set(changes) <= names for changes in PRESETS.values())


def test_numbers_of_numpy_are_taken() -> None:
    config = create_config("tiny", batch_size=np.int64(8), learning_rate=np.float32(0.25), sites=(np.int32(4), 4))
    assert (config.batch_size, config.learning_rate, config.sites) == (8, 0.25, (4, 4))
    assert type(config.batch_size) is int and type(config.learning_rate) is float
    with pytest.raises(ValueError, match="batch_size = .*8.5.*give a whole number"):
        create_config("tiny", batch_size=np.float64(8.5))
