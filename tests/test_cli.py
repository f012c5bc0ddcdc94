from __future__ import annotations

import inspect
import json
import re
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from energy_flow.cli import main
from energy_flow.cli.command_line import parse
from energy_flow.cli.train import Train
from energy_flow.config import create_config
from energy_flow.data import TASKS, PairSet, Task, TextBank
from energy_flow.data.tasks import REGRESSION, r_squared
from energy_flow.training import Judge

from .test_embedding import ToyEncoder

SMALL = [
    "--carrier-hidden-size",
    "8",
    "--carrier-num-layers",
    "1",
    "--neuron-hidden-dim",
    "8",
    "--neuron-output-dim",
    "8",
]


@pytest.fixture
def pair_file(tmp_path):
    path = tmp_path / "pairs.safetensors"
    inputs = torch.randn(200, 16)
    save_file({"inputs": inputs, "targets": inputs.roll(1, dims=1)}, path)
    return path


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Intervals are not looked at here."""
    with mock.patch("energy_flow.training.metrics.RESAMPLES", 20):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model for the shipped data, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    main(
        [
            "train",
            "--preset",
            "tiny",
            "--run",
            str(folder),
            "--epochs",
            "1",
            "--batch-size",
            "1024",
            "--lattice-depth",
            "4",
            "--examples",
            "3",
            *SMALL,
        ]
    )
    return folder


def test_train_writes_a_run_and_reports(trained, capsys) -> None:
    main(["evaluate", str(trained / "best"), "--device", "cpu"])
    printed = capsys.readouterr().out
    for word in ("input itself", "lattice", "cosine", "median rank", "acc@1", "acc@10", "acc@100"):
        assert word in printed
    kinds = [json.loads(line)["kind"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("train") == 16
    assert kinds[-1] == "validation"
    assert (trained / "log.jsonl").exists()
    assert (trained / "last" / "model.safetensors").exists()


def test_predict_decodes_test_examples(trained, capsys) -> None:
    main(["predict", str(trained / "best"), "--examples", "4", "--top", "2"])
    printed = capsys.readouterr().out
    assert "4 test examples, decoded" in printed


def test_predict_takes_and_writes_embeddings(trained, tmp_path, capsys) -> None:
    given, written = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({"inputs": torch.randn(3, 384)}, given)
    main(["predict", str(trained / "best"), "--inputs", str(given), "--output", str(written), "--top", "2"])
    assert load_file(written)["outputs"].shape == (3, 384)
    assert (
        len(re.findall(r"^row \d: .+\(-?\d\.\d+\), .+\(-?\d\.\d+\)$", capsys.readouterr().out, flags=re.MULTILINE)) == 3
    )


def test_train_on_a_file_of_pairs(pair_file, tmp_path, capsys) -> None:
    main(
        ["train", "--preset", "tiny", "--data", str(pair_file), "--run", str(tmp_path / "run"), "--epochs", "1", *SMALL]
    )
    assert "lattice" in capsys.readouterr().out


def test_a_built_task_trains_and_is_judged_by_its_own_metric(tmp_path, capsys) -> None:
    built, run = tmp_path / "built", tmp_path / "run"
    main(["data", "build", "sudoku-4", str(built), "--rows", "200", "--held-out-rows", "50"])
    assert '"metric": "exact grids"' in capsys.readouterr().out
    main(["train", "--preset", "tiny", "--data", str(built), "--run", str(run), "--epochs", "1", *SMALL])
    assert json.loads((run / "config.json").read_text())["loss_cross_entropy"] == 1.0
    assert "exact grids" in capsys.readouterr().out


def test_every_task_is_offered() -> None:
    for name in TASKS:
        assert parse(["data", "build", name, "folder"]).name == name
        assert name in " ".join(inspect.getsource(Train).split()), f"train --data does not name {name}"
    assert parse(["data", "build", "wordnet", "folder"]).name == "wordnet"


def test_a_task_of_ones_own_is_built_trained_on_and_judged_by_its_name(tasks, tmp_path, capsys) -> None:
    def own(rows, split, fixed, random):
        numbers = torch.randn(min(rows, 64), 16, generator=random)
        return numbers, numbers.flip(1)

    build = ["data", "build", "own", str(tmp_path / "set"), "--rows", "40", "--held-out-rows", "20"]
    with pytest.raises(ValueError, match="'own'.*Expected one of .*'wordnet', 'identity'.*'digits'"):
        parse(build)
    tasks.add("own", Task("numbers; backwards", own, "own figure", r_squared, REGRESSION, finite=True))
    main(build)
    assert json.loads(capsys.readouterr().out)["task"] == "own"
    for source, run in (("own", tmp_path / "one"), (str(tmp_path / "set"), tmp_path / "two")):
        main(["train", "--preset", "tiny", "--data", source, "--run", str(run), "--epochs", "1", *SMALL])
        assert json.loads((run / "config.json").read_text())["loss_mse"] == 1.0
        assert "own figure" in capsys.readouterr().out
    del tasks._entries["own"]
    with pytest.raises(SystemExit):
        main(["train", "--data", str(tmp_path / "set")])
    assert "no such task is registered: give one of identity" in capsys.readouterr().err


def test_published_queries_are_ranked_among_the_banks_words(toy_set, toy_model, tmp_path, monkeypatch, capsys) -> None:
    toys = ToyEncoder(), ToyEncoder()
    monkeypatch.setattr("energy_flow.cli.evaluate.encoders_of", lambda data: toys if data.encoders else None)
    queries = [{"word": f"Word{row}", "definitions": f"definition number {row}"} for row in range(30)]
    queries += [{"word": "unknown", "definitions": "not a word of the bank"}]
    path = tmp_path / "queries.json"
    path.write_text(json.dumps(queries))
    main(["evaluate", str(toy_model), "--data", str(toy_set), "--queries", str(path), "--csls", "--device", "cpu"])
    printed = capsys.readouterr().out
    for words in ("synonym acc@1", "31 rows", "among 720 candidate texts; a rank of 1000 or more counts as 1000; the"):
        assert words in " ".join(printed.split())
    with pytest.raises(SystemExit):
        main(["evaluate", str(toy_model), "--data", "rotation", "--queries", str(path)])
    assert "rotation has no texts" in capsys.readouterr().err


def test_misses_count_as_the_published_rank() -> None:
    bank = TextBank([f"t{row}" for row in range(1200)], torch.nn.functional.normalize(torch.randn(1200, 4), dim=1))
    pairs = PairSet(bank.embeddings[:3], bank.embeddings[:3], target_texts=["t0", "t1", "elsewhere"])
    outputs = torch.cat((bank.embeddings[:1], -bank.embeddings[1:3]))
    ranks = Judge(bank, miss=1000).ranks(outputs, pairs)
    assert ranks is not None
    assert ranks.tolist() == [0, 1000, 1000]


def test_predict_looks_up_approximately(toy_set, toy_model, capsys) -> None:
    pytest.importorskip("faiss")
    main(["predict", str(toy_model), "--data", str(toy_set), "--approximate", "--examples", "3", "--top", "2"])
    assert len(re.findall(r"^definition number \d+: .+\), .+\)$", capsys.readouterr().out, flags=re.MULTILINE)) == 3


def test_train_on_a_task_takes_its_settings() -> None:
    settings = parse(["train", "--data", "sudoku-4", "--preset", "tiny", "--seed", "3"]).settings
    assert settings.loss_weights == {"cross_entropy": 1.0}
    assert (settings.input_embedding_dim, settings.output_embedding_dim, settings.target_classes) == (80, 64, 4)


def test_precedence_is_preset_file_option(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rate: 1e-3\nbatch_size: 5\n")
    settings = parse(["train", "--preset", "debug", "--config", str(path), "--batch-size", "6"]).settings
    preset = create_config("debug")
    assert (preset.learning_rate, preset.batch_size, preset.lattice_depth) == (1e-4, 8, 10)
    assert (settings.learning_rate, settings.batch_size, settings.lattice_depth) == (1e-3, 6, 10)
    assert settings.input_embedding_dim == 384  # the shipped data's


def test_help_shows_every_field_with_its_meaning_and_the_presets_default(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help", "--preset", "debug"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in create_config("debug").to_dict():
        assert f"--{name.replace('_', '-')} " in printed or f"--{name.replace('_', '-')}," in printed, name
    assert "Most flows that live at once in one sample. (default: 100)" in printed
    assert "Cells along x. (default: 20)" in printed


def test_info_shows_parameters_sites_memory_and_work(capsys) -> None:
    main(["info", "--preset", "debug"])
    printed = capsys.readouterr().out
    assert "16,189,440" in printed
    assert "8 x 8 = 64 flows" in printed
    assert "32,048,768" in printed
    main(["info", "--preset", "debug", "--carrier-num-layers", "2"])
    assert "9,891,840" in capsys.readouterr().out  # two layers: about 10M


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --preset huge", "preset = 'huge'"),
        ("train --device cuda:77", "device = 'cuda:77'"),
        ("train --data nowhere", "data = 'nowhere'.*one of shipped, identity"),
        ("data build riddle folder", "'riddle'.*Expected one of .*'wordnet', 'identity'.*'digits'"),
        ("data build digits taken", "taken is a file; give a folder"),
        ("data build wordnet taken", "taken is a file; give a folder"),
        ("data build maze folder --exclude-words taken", "--exclude-words taken is about wordnet, and maze is built"),
        ("data build wordnet folder --rows 5", "--rows 5 is about a task, and wordnet is built; leave it out"),
        ("train --lattice-depth 1", "lattice_depth = 1; give at least 2"),
        ("train --lattice-depth deep", "--lattice-depth"),
        ("train --learning-rat 3", "Perhaps you meant"),
        ("train --energy-threshold 0.9", "it must lie below spawn_threshold"),
        ("train --sites 40 2", r"sites = \(40, 2\)"),
        ("train --preset tiny --sites 12 12", "raise max_active_flows = 32 to 144"),
        ("train --config nowhere.yaml", "nowhere.yaml: no such file"),
        ("train --input-embedding-dim 100", "width 384, the model expects 100"),
        ("evaluate nowhere", "nowhere/model.safetensors: no such file"),
        ("predict nowhere a b", "no such file"),
        ("evaluate", "PATH"),
        ("frobnicate", "frobnicate"),
        (
            "data build-shipped nowhere --wordnet nowhere",
            r"nowhere/data.noun: no such file|pip install .energy-flow\[text\]",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: str, words: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("energy-flow: error: ")
    assert error.count("\n") == 1
    assert re.search(words, error.replace("\\", "/"))
    assert not list(tmp_path.glob("runs/*/best"))


def test_run_folder_that_exists_is_refused(trained, capsys) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["train", "--preset", "tiny", "--run", str(trained)])
    assert stop.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_zero_rows_in_a_file_are_named(tmp_path, capsys) -> None:
    path = tmp_path / "zeros.safetensors"
    save_file({"inputs": torch.randn(40, 4), "targets": torch.zeros(40, 4)}, path)
    with pytest.raises(SystemExit):
        main(["train", "--data", str(path), "--preset", "tiny", "--run", str(tmp_path / "run")])
    assert "rows of zeros" in capsys.readouterr().err
