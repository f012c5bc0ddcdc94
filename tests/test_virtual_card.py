"""Training, judging and decoding on a virtual accelerator, which is as strict about devices as CUDA."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def card() -> dict:
    """What every scenario of `on_virtual_card.py` gave, in a process of its own: torch cannot forget a device."""
    command = [sys.executable, "-m", "tests.on_virtual_card"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize(("asked", "precision"), [("float32", "float32"), ("auto", "bfloat16")])
def test_trains_on_the_device_that_is_found(card, asked: str, precision: str) -> None:
    """Its utilization cannot be told, as NVIDIA's library refuses it on some cards, and training goes on."""
    assert (card[asked]["device"], card[asked]["precision"]) == ("virtual:0", precision)
    assert card[asked]["losses"][-1] < card[asked]["losses"][0]


def test_the_numbers_are_the_cpus(card) -> None:
    assert card["same numbers"] is True


def test_interventions_take_tables_and_traces_of_any_device(card) -> None:
    assert card["interventions"] is True


def test_sets_of_several_sizes_train_there_too(card) -> None:
    """With preludes, read-outs along the way, exchange, pointers and coasting; a lattice step waits once."""
    assert card["several sizes"] == {
        "grid": True,
        "pointer": True,
        "coasts": True,
        "waits beyond the lattice's": [0, 0],
    }


def test_a_run_that_was_cut_goes_on_to_the_same_weights(card) -> None:
    assert card["save and resume"] == {"same weights": True, "same outputs": True, "generators": ["cpu", "virtual"]}


def test_out_of_memory_is_met_by_checkpointing_then_by_micro_batches(card) -> None:
    assert card["out of memory"] == [[8, True, 1], [8, False, 2]]


@pytest.mark.parametrize("name", ["waits", "waits of micro-batches"])
def test_outside_the_lattice_a_step_waits_once_and_a_report_once(card, name: str) -> None:
    (count,) = card[name]["outside"].values()
    assert count == 1
    assert card[name]["report"] == 1


def test_a_step_waits_once_for_each_lattice_step_and_once_more(card) -> None:
    assert card["waits"]["all"] == card["waits"]["lattice"] + 1


def test_rows_of_every_kind_are_taken(card) -> None:
    assert card["rows"] == ["device", "float64", "float16", "numpy", "with a gradient"]


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
