"""Training, judging and decoding on a virtual accelerator, which is as strict about devices as CUDA."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUICK = ("not finite", "no kernels", "memory", "generators", "mixed devices")


@pytest.fixture(scope="module")
def card() -> dict:
    """What scenarios of `on_virtual_card.py` gave, in a process of their own: torch cannot forget a device."""
    return found_there("float32", "same numbers", "interventions", "waits", "waits of micro-batches", *QUICK)


@pytest.fixture(scope="module")
def card_at_length() -> dict:
    """What the others gave."""
    return found_there("auto", "several sizes", "save and resume", "out of memory", "rows")


def found_there(*scenarios: str) -> dict:
    command = [sys.executable, "-m", "tests.on_virtual_card", *scenarios]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_trains_on_the_device_that_is_found(card) -> None:
    """Its utilization cannot be told, as NVIDIA's library refuses it on some cards, and training goes on."""
    trained_there(card["float32"], "float32")


@pytest.mark.slow
def test_trains_in_the_precision_of_the_device(card_at_length) -> None:
    trained_there(card_at_length["auto"], "bfloat16")


def trained_there(found: dict, precision: str) -> None:
    assert (found["device"], found["precision"]) == ("virtual:0", precision)
    assert found["losses"][-1] < found["losses"][0]


def test_the_numbers_are_the_cpus(card) -> None:
    assert card["same numbers"] is True


def test_interventions_take_tables_and_traces_of_any_device(card) -> None:
    assert card["interventions"] is True


@pytest.mark.slow
def test_sets_of_several_sizes_train_there_too(card_at_length) -> None:
    """With preludes, read-outs along the way, exchange, pointers and coasting; a lattice step waits once."""
    assert card_at_length["several sizes"] == {
        "grid": True,
        "pointer": True,
        "coasts": True,
        "waits beyond the lattice's": [0, 0],
    }


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_to_the_same_weights(card_at_length) -> None:
    assert card_at_length["save and resume"] == {
        "same weights": True,
        "same outputs": True,
        "generators": ["cpu", "virtual"],
    }


@pytest.mark.slow
def test_out_of_memory_is_met_by_checkpointing_then_by_micro_batches(card_at_length) -> None:
    assert card_at_length["out of memory"] == [[8, True, 1], [8, False, 2]]


@pytest.mark.parametrize("name", ["waits", "waits of micro-batches"])
def test_outside_the_lattice_a_step_waits_once_and_a_report_once(card, name: str) -> None:
    (count,) = card[name]["outside"].values()
    assert count == 1
    assert card[name]["report"] == 1


def test_a_step_waits_once_for_each_lattice_step_and_once_more(card) -> None:
    assert card["waits"]["all"] == card["waits"]["lattice"] + 1


@pytest.mark.slow
def test_rows_of_every_kind_are_taken(card_at_length) -> None:
    assert card_at_length["rows"] == ["device", "float64", "float16", "numpy", "with a gradient"]


def test_numbers_that_are_not_finite_update_nothing_and_are_named(card) -> None:
    loss, gradient = card["not finite"]
    assert "not finite first in the loss or its gradient: the model's output is finite; nothing was updated" in loss
    assert "not finite first in the gradient of carrier.heads.weight; nothing was updated" in gradient


def test_a_torch_without_kernels_for_the_card_is_named_in_one_line(card) -> None:
    said = card["no kernels"]
    assert "has no kernels for virtual card of compute capability 12.0; install the torch build for this card" in said
    assert "\n" not in said


def test_memory_is_what_torch_has_allocated(card) -> None:
    assert card["memory"] == [2**20, 2**21, 2**35]


def test_training_seeds_no_generator_of_the_device(card) -> None:
    assert card["generators"] == 0


@pytest.mark.parametrize("fault", ["a figure on the CPU", "targets on the CPU", "a table on the CPU"])
def test_tensors_of_two_devices_are_refused_as_cuda_would(card, fault: str) -> None:
    assert card["mixed devices"][fault].startswith("Expected all tensors to be on the same device")
