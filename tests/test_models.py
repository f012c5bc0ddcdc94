"""The trained models of the package: found by their names everywhere, small, and as good as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import energy_flow
from energy_flow import FlowProcessor, models
from energy_flow.cli import main
from energy_flow.cli.found_models import data_of
from energy_flow.data import TASKS, make_split
from energy_flow.data.pairs import one_size
from energy_flow.sharing import CARD, CONFIG, WEIGHTS

MOST_BYTES, MOST_BYTES_IN_ALL = 2_000_000, 6_000_000


@pytest.mark.parametrize("name", models.names())
def test_a_model_of_the_package_is_whole_and_small(name: str) -> None:
    facts, folder = models.facts_of(name), models.folder_of(name)
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, CARD, models.SCORES}
    assert models.size_of(name) < MOST_BYTES
    assert facts["command"] == f"python -m benchmarks.learning.shipped_models {name}"
    assert facts["shipped_seed"] in [one["seed"] for one in facts["seeds"]]
    processor = energy_flow.load(name)
    assert not processor.training
    assert sum(weight.numel() for weight in processor.parameters()) == facts["parameters"]
    for score in facts["scores"].values():
        assert score["interval"][0] <= score["score"] <= score["interval"][1]
    assert facts["what"] in (folder / CARD).read_text(encoding="utf-8")


def test_there_are_mazes_and_deliveries_and_they_are_small_together() -> None:
    assert {"maze", "delivery"} <= set(models.names())
    assert sum(models.size_of(name) for name in models.names()) < MOST_BYTES_IN_ALL


def test_the_shipped_mazes_are_solved() -> None:
    model, face = energy_flow.load("maze"), (7, 7)
    pairs = one_size("maze", make_split("maze", "test", 20, 5, [face]))
    with torch.no_grad():
        outputs = model(pairs.inputs[:], box=model.config.box_of(face))
    assert TASKS["maze"].score(pairs.inputs[:], outputs, pairs.targets[:], face) >= 0.95


def test_a_named_model_is_judged_in_a_larger_box_and_on_faces_of_other_sizes(capsys) -> None:
    main(["evaluate", "maze", "--box", "7x7x42", "--rows", "4", "--device", "cpu"])
    assert "in a box of 7x7x42" in capsys.readouterr().out


def test_a_split_that_a_task_has_beside_the_three_is_judged(capsys) -> None:
    main(["evaluate", "sudoku-6", "--split", "few-clues", "--device", "cpu"])
    assert "sudoku-6: few-clues split" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["evaluate", "delivery", "--split", "few-clues", "--device", "cpu"])
    assert "split = 'few-clues'; delivery has train, validation, test: give one of these" in capsys.readouterr().err


def test_commands_take_a_name(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main(["list"])
    assert "delivery" in capsys.readouterr().out
    main(["evaluate", "delivery", "--device", "cpu"])
    assert "in a box of 4x4x3" in capsys.readouterr().out
    main(["predict", "delivery", "--examples", "2", "--output", "out.npy", "--device", "cpu"])
    assert (tmp_path / "out.npy").is_file()
    main(["trace", "delivery", "--device", "cpu"])
    assert (tmp_path / "trace.parquet").is_file()


def test_explore_takes_a_name() -> None:
    from energy_flow.cli.explore import Explore

    subject = Explore((Path("delivery"),), device="cpu").subject()
    assert (subject.data.task, subject.models[0].name) == ("delivery", "delivery")


def test_load_copies_a_model_with_its_card(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main(["load", "delivery"])
    folder = tmp_path / "models" / "delivery"
    assert (folder / CARD).read_bytes() == (models.folder_of("delivery") / CARD).read_bytes()
    rows = torch.randn(2, 64)
    torch.testing.assert_close(energy_flow.load(folder)(rows), energy_flow.load("delivery")(rows), rtol=0, atol=0)
    with pytest.raises(SystemExit):
        main(["load", "delivery"])
    assert "holds files already; give a new folder" in capsys.readouterr().err


def test_a_folder_that_holds_a_model_comes_before_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "delivery").mkdir()
    assert energy_flow.load("delivery").config.mover == "pointer"  # an empty folder is no model
    own = energy_flow.create_processor(energy_flow.create_config("tiny", carrier_hidden_size=8, carrier_num_layers=1))
    own.save_pretrained("delivery")
    assert energy_flow.load("delivery").config == own.config


@pytest.mark.parametrize("call", [energy_flow.load, models.folder_of])
def test_a_name_that_is_none_is_told_the_others(call) -> None:
    with pytest.raises(ValueError, match="delivery"):
        call("deliver")


def test_evaluate_tells_of_a_name_that_is_none(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "deliver"])
    assert stop.value.code == 2
    assert "energy-flow list" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_the_weights_score_what_is_recorded(name: str) -> None:
    """To the digit on the machine that recorded it; elsewhere a row or two may go the other way."""
    from benchmarks.learning.shipped_models import judged, scores_of
    from energy_flow.data import load_data
    from energy_flow.training import EnergyTrainer

    facts, model = models.facts_of(name), FlowProcessor.from_pretrained(models.folder_of(name))
    found = scores_of([judged(EnergyTrainer(model, model.config), load_data(facts["data"]))])
    recorded = next(one["scores"] for one in facts["seeds"] if one["seed"] == facts["shipped_seed"])
    assert_within(found, recorded)


@pytest.mark.slow
def test_a_model_is_made_again_by_its_command(tmp_path: Path, monkeypatch) -> None:
    from benchmarks.learning import shipped_models

    given = ["delivery", "--seeds", "0", "--results", str(tmp_path / "results"), "--models", str(tmp_path / "models")]
    monkeypatch.setattr("sys.argv", ["shipped_models", *given])
    shipped_models.main()
    made = json.loads((tmp_path / "models" / "delivery" / models.SCORES).read_text(encoding="utf-8"))
    assert_within(made["scores"], models.facts_of("delivery")["scores"])


def assert_within(found: dict, recorded: dict) -> None:
    """The intervals of what was found and of what was recorded overlap, on all parts of the test rows."""
    assert found.keys() == recorded.keys()
    for where, score in found.items():
        low, high = recorded[where]["interval"]
        assert score["interval"][0] <= high
        assert score["interval"][1] >= low, where


def test_what_is_no_model_of_the_package_has_the_shipped_data_by_default() -> None:
    assert data_of(Path("runs/mine"), None) == "shipped"
    assert data_of(Path("maze"), None) == "maze"
    assert data_of(Path("maze"), "flood") == "flood"
