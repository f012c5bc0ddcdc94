"""The linear map as a model: solved, stored, judged beside the input, and refused where it is something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from energy_flow.data import PairSet
from energy_flow.training.linear_map import LinearMap, fit_orthogonal, fit_ridge

from .test_cli_runs import refused, run


def pairs(noise: float = 0.0, count: int = 400, shift: float = 0.0) -> PairSet:
    """A rotation of 6 numbers, moved."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 6, generator=generator)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    return PairSet(inputs, inputs @ rotation + shift + noise * torch.randn(count, 6, generator=generator))


@pytest.mark.parametrize("fit", [lambda train: fit_ridge(train, train), fit_orthogonal])
def test_a_moved_rotation_is_found(fit) -> None:
    train = pairs(shift=0.5)
    torch.testing.assert_close(fit(train)(train.inputs), train.targets, atol=1e-4, rtol=0)


def test_an_orthogonal_map_keeps_angles_whatever_the_noise() -> None:
    weight = fit_orthogonal(pairs(noise=1.0)).weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), atol=1e-5, rtol=0)
    wide = PairSet(pairs().inputs, pairs().targets[:, :4])
    narrow = fit_orthogonal(wide).weight
    torch.testing.assert_close(narrow.T @ narrow, torch.eye(4), atol=1e-5, rtol=0)


def test_the_penalty_is_the_one_of_least_validation_error() -> None:
    train, validation = pairs(noise=3.0, count=30), pairs(noise=3.0, count=400)
    chosen = fit_ridge(train, validation)
    error = (chosen(validation.inputs) - validation.targets).square().mean()
    constant = torch.cat((train.inputs, torch.ones(30, 1)), dim=1).double()
    gram, size = constant.T @ constant, train.inputs.double().square().sum(1).mean()
    for penalty in (1e-3, 1e0, 1e2, 1e4):
        weighted = torch.diag(torch.tensor([penalty * size] * 6 + [0.0], dtype=torch.float64))
        weights = torch.linalg.solve(gram + weighted, constant.T @ train.targets.double()).float()
        assert error <= (validation.inputs @ weights[:-1] + weights[-1] - validation.targets).square().mean() + 1e-6
    assert chosen.card["penalty"] > 1e-3


@pytest.mark.parametrize("unit", [1e-10, 1e-3, 1e12])
def test_a_map_does_not_depend_on_the_unit_of_the_inputs(unit: float) -> None:
    train, validation = pairs(noise=1.0, count=60, shift=2.0), pairs(noise=1.0, count=400, shift=2.0)
    plain = fit_ridge(train, validation)
    scaled = [PairSet(one.inputs * unit, one.targets) for one in (train, validation)]
    found = fit_ridge(*scaled)
    assert found.card["penalty"] == plain.card["penalty"]
    torch.testing.assert_close(found(scaled[1].inputs), plain(validation.inputs), atol=1e-5, rtol=1e-5)


def test_the_constant_is_not_penalised() -> None:
    far = pairs(noise=1.0, count=20, shift=1000.0)
    assert (fit_ridge(far, far).bias - far.targets.mean(0)).abs().max() < 5


def test_a_map_in_parts_is_the_map_in_one(monkeypatch) -> None:
    whole = fit_ridge(pairs(0.5), pairs(0.5)), fit_orthogonal(pairs(0.5))
    monkeypatch.setattr("energy_flow.training.linear_map.CHUNK", 64)
    parts = fit_ridge(pairs(0.5), pairs(0.5)), fit_orthogonal(pairs(0.5))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.weight, other.weight)


def test_a_map_is_what_was_stored(tmp_path) -> None:
    stored = fit_ridge(pairs(0.1), pairs(0.1))
    stored.save(tmp_path / "m.safetensors")
    found = LinearMap.load(tmp_path / "m.safetensors")
    assert torch.equal(found.weight, stored.weight) and torch.equal(found.bias, stored.bias)
    assert found.card == {"kind": "ridge", "pairs": 400, "widths": [6, 6], "penalty": stored.card["penalty"]}
    rows = torch.randn(3, 6)
    assert torch.equal(found(rows.half()), stored(rows.half().float()))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("energy_flow.training.metrics.RESAMPLES", 20)
    data = pairs(noise=0.1)
    save_file({"inputs": data.inputs[:], "targets": data.targets[:]}, "d.safetensors")
    return tmp_path


def test_the_command_solves_writes_and_judges(place, capsys) -> None:
    run("train-linear maps/m.safetensors --data d.safetensors")
    said = capsys.readouterr().out
    assert "recall@10" in said and "linear map" in said and "wrote maps/m.safetensors" in said.replace("\\", "/")
    run("evaluate maps/m.safetensors --data d.safetensors")
    assert "linear map" in capsys.readouterr().out
    run("train-linear maps/o.safetensors --data d.safetensors --kind orthogonal")
    assert LinearMap.load(Path("maps/o.safetensors")).card["kind"] == "orthogonal"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train-linear m.npy --data d.safetensors", "m.npy: give the path of a .safetensors file"),
        ("train-linear m.safetensors --data nowhere", "data = 'nowhere'"),
        ("evaluate d.safetensors --data d.safetensors", "d.safetensors: not a linear map"),
        ("evaluate m.safetensors --data d.safetensors --box 3x3x3", "is a linear map, which has no lattice"),
        ("evaluate m.safetensors", "inputs has width 384, the model takes 6"),
        ("predict d.safetensors --inputs d.safetensors --output o.npy", "d.safetensors: not a linear map"),
    ],
)
def test_what_does_not_fit_is_one_line(place, capsys, command: str, words: str) -> None:
    LinearMap(torch.eye(6), torch.zeros(6)).save(Path("m.safetensors"))
    assert words in refused(command, capsys)


def test_words_are_found_however_they_are_written() -> None:
    from energy_flow.data.bank_words import BankWords

    bank = BankWords(["Haus", "polish", "Polish", "Caf\u00e9", "stra\u00dfe", "turkey"])
    for asked, wanted in {
        "haus": "Haus",
        "HAUS": "Haus",
        "Polish": "Polish",
        "polish": "polish",
        "POLISH": "polish",
        "cafe\u0301": "Caf\u00e9",
        "Cafe\u0301": "Caf\u00e9",
        "STRASSE": "stra\u00dfe",
        " turkey ": "turkey",
        "hut": None,
    }.items():
        assert bank.find(asked) == wanted, asked


def test_published_words_with_capitals_are_found(toy_set, toy_model, tmp_path, monkeypatch, capsys) -> None:
    import json

    from .test_embedding import ToyEncoder

    monkeypatch.setattr("energy_flow.training.metrics.RESAMPLES", 20)
    monkeypatch.setattr("energy_flow.cli.evaluate.encoders_of", lambda data: (ToyEncoder(), ToyEncoder()))
    queries = [{"word": "WORD1", "definitions": "definition number 1"}, {"word": "chalet", "definitions": "a house"}]
    path = tmp_path / "queries.json"
    path.write_text(json.dumps(queries), encoding="utf-8")
    run(f"evaluate {toy_model} --data {toy_set} --queries {path} --device cpu")
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 asked words are not in the bank, such as 'chalet'; each of them ranks 1000" in said
