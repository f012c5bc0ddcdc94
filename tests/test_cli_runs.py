"""The command line and its runs: options are checked before work, files of any editor are read, and what is written is
where it should be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from energy_flow import __version__
from energy_flow.cli import main
from energy_flow.cli.command_line import parse
from energy_flow.config import EnergyConfig
from energy_flow.config.base_config import read_fields
from energy_flow.training.run.folder_lock import FolderLock
from energy_flow.utils.memory_limit import container_limit

ROOT = Path(__file__).parent.parent
SMALL = (
    "lattice_width: 6\nlattice_height: 6\nlattice_depth: 5\nsites: [2, 2]\nenergy_dim: 8\ncarrier_hidden_size: 16\n"
    "neuron_hidden_dim: 8\nneuron_output_dim: 8\nmax_active_flows: 12\nbatch_size: 8\nepochs: 2\n"
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with pairs, other pairs, inputs and a small configuration, entered."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.nn.functional.normalize(torch.randn(100, 16, generator=generator))
    save_file({"inputs": inputs, "targets": inputs.roll(1, 1)}, "d.safetensors")
    save_file({"inputs": inputs.flip(0) * 4, "targets": inputs.roll(2, 1)}, "other.safetensors")
    save_file({"inputs": torch.randn(5, 16, generator=generator)}, "in5.safetensors")
    Path("small.yaml").write_text(SMALL)
    return tmp_path


BASE = "train --preset tiny --config small.yaml --device cpu --data d.safetensors"


def run(command: str) -> None:
    main(command.split())


def refused(command: str, capsys, code: int = 2) -> str:
    with pytest.raises(SystemExit) as stop:
        run(command)
    error = capsys.readouterr().err
    assert stop.value.code == code, error
    assert error.count("\n") == 1, error
    return error


def test_a_run_forks_from_the_command_line(place, capsys) -> None:
    run(f"{BASE} --run first")
    run(f"{BASE} --run second --resume first/checkpoints/step-000000020")
    assert (place / "second" / "best" / "model.safetensors").exists()
    assert "no such checkpoint; there are step-000000010, step-000000020 in " in refused(
        f"{BASE} --run first --resume no/such/folder", capsys
    )
    assert "first is no checkpoint: give one of those there are" in refused(
        f"{BASE} --run first --resume first", capsys
    )
    assert "best holds weights alone" in refused(f"{BASE} --run third --resume first/best", capsys)


@pytest.mark.slow
def test_preset_and_file_are_held_against_the_run_as_options_are(place, capsys) -> None:
    run(f"{BASE} --run r")
    (place / "changed.yaml").write_text(SMALL.replace("batch_size: 8", "batch_size: 16") + "learning_rate: 0.01\n")
    again = "train --device cpu --data d.safetensors --run r --resume auto"
    assert "learning_rate = 0.01 (was 0.0005)" in refused(f"{BASE} --run r --resume auto --learning-rate 0.01", capsys)
    error = refused(f"{again} --config changed.yaml", capsys)
    assert "batch_size = 16 (was 8), learning_rate = 0.01 (was 0.0005)" in error
    assert "preset = 'tinny'" in refused(f"{again} --preset tinny", capsys)
    assert "lattice_width = 20 (was 6)" in refused(f"{again} --preset debug", capsys)
    before = json.loads((place / "r" / "config.json").read_text())
    run(f"{BASE} --run r --resume auto")  # the same command goes on
    run(f"{again} --epochs 3")
    after = json.loads((place / "r" / "config.json").read_text())
    assert after == before | {"epochs": 3}
    run(f"{BASE} --run r --resume auto")  # the file's two epochs are no wish to stop: three stay planned
    assert "epochs stays 3, as planned; preset or --config say 2" in capsys.readouterr().err
    kinds = [json.loads(line) for line in (place / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in kinds if line["kind"] == "validation"] == [1, 2, 3]


@pytest.mark.slow
def test_a_run_starts_from_weights_with_frozen_parts(place, capsys) -> None:
    run(f"{BASE} --run r")
    run("train --device cpu --data other.safetensors --init-from r/best --freeze mapper carrier --run tuned")
    first, tuned = (load_file(Path(name) / "last" / "model.safetensors") for name in ("r", "tuned"))
    best = load_file(Path("r/best/model.safetensors"))
    assert torch.equal(tuned["mapper.input_weight"], best["mapper.input_weight"])
    assert torch.equal(tuned["carrier.gru.weight_hh_l0"], best["carrier.gru.weight_hh_l0"])
    assert not torch.equal(tuned["neuron.perceive.weight"], best["neuron.perceive.weight"])
    assert float(tuned["mapper.input_rms"] / first["mapper.input_rms"]) == pytest.approx(4, rel=0.05)
    options = "--device cpu --data other.safetensors --init-from r/best --batch-size 4"
    settings = parse(["train", *options.split()]).settings
    assert (settings.lattice_width, settings.batch_size, settings.freeze) == (6, 4, ())
    assert "384 in wordnet-minilm, and 16 in r/best" in refused("train --init-from r/best", capsys)
    assert "no part or parameter of this name" in refused(f"{BASE} --run x --freeze maper", capsys)
    assert "give one of them" in refused(f"{BASE} --run x --resume r/checkpoints/x --init-from r/best", capsys)
    requeued = "train --device cpu --data other.safetensors --init-from r/best --run again --resume auto"
    run(requeued)  # starts from the weights
    weights = Path("again/last/model.safetensors").read_bytes()
    run(requeued)  # goes on: it is finished
    assert Path("again/last/model.safetensors").read_bytes() == weights


def test_the_folder_that_another_process_trains_in_is_refused(place, capsys) -> None:
    run(f"{BASE} --run r")
    lock = FolderLock(place / "r")
    lock.acquire()
    assert "run folder r is in use by process" in refused(f"{BASE} --run r --resume auto", capsys)
    lock.release()


def test_runs_without_a_folder_get_their_own(place, monkeypatch) -> None:
    monkeypatch.setattr("energy_flow.training.run.opening.time.strftime", lambda *_: "20260101-000000")
    for _ in range(2):
        run(f"{BASE} --epochs 1")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["20260101-000000", "20260101-000000-2"]


def test_a_run_that_never_began_leaves_no_folder(place, capsys) -> None:
    save_file({"inputs": torch.randn(100, 16), "targets": torch.zeros(100, 16)}, "d.safetensors")
    assert "rows of zeros" in refused(BASE, capsys)
    assert not list(Path("runs").iterdir())


def test_the_last_weights_that_are_not_on_the_disk_have_a_code_of_their_own(place, monkeypatch, capsys) -> None:
    from energy_flow.training import training_loop

    def full(processor, folder) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training_loop, "save_model", full)
    error = refused(f"{BASE} --run r", capsys, code=74)
    assert "the last and best weights are missing in " in error


def test_what_follows_training_cannot_fail_it(place, monkeypatch, capsys) -> None:
    run(f"{BASE} --run r --examples 0")
    assert "lattice" in capsys.readouterr().out
    assert "--examples -1; give 0 or more" in refused(f"{BASE} --run s --examples -1", capsys)
    monkeypatch.setattr("energy_flow.cli.train.print_scores", lambda *_: 1 / 0)
    run(f"{BASE} --run s")
    said = " ".join(capsys.readouterr().out.split())
    assert "the run is whole in s, but its test split was not judged (ZeroDivisionError" in said


def test_embeddings_in_embeddings_out(place, capsys) -> None:
    run(f"{BASE} --run r")
    for data in ("", " --data d.safetensors"):
        run(f"predict r/best{data} --inputs in5.safetensors --output out.safetensors")
        assert load_file("out.safetensors")["outputs"].shape == (5, 16)
        Path("out.safetensors").unlink()
    assert "nothing to decode to" in refused("predict r/best --inputs in5.safetensors", capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--output nowhere.safetensors/x/out.safetensors --data d.safetensors", ""),
        ("--output d.safetensors/out.safetensors", "folder of --output d.safetensors: d.safetensors is a file"),
        ("--output .", "--output . is a folder; give the path of a file"),
        ("--examples -3", "--examples -3; give 0 or more"),
        ("--top 0", "--top 0; give at least 1"),
    ],
)
def test_predict_checks_its_options_before_the_model_runs(place, monkeypatch, capsys, options: str, words: str) -> None:
    monkeypatch.setattr("energy_flow.cli.predict.load_trainer", lambda *_: pytest.fail("the model was loaded"))
    if not words:
        Path("nowhere.safetensors").write_text("a file")
        words = "nowhere.safetensors is a file"
    assert words in refused(f"predict r/best --inputs in5.safetensors {options}", capsys)


@pytest.mark.parametrize("option", ["--preset", "--config", "--data", "--device", "--run", "--resume", "--init-from"])
def test_an_option_without_its_value_is_one_line(option: str, place, capsys) -> None:
    assert f"{option}" in refused(f"train {option}", capsys)
    assert "expected one argument" in refused(f"train {option}", capsys)


def test_the_version_is_told(capsys) -> None:
    run("--version")
    assert capsys.readouterr().out == f"energy-flow {__version__}\n"


@pytest.mark.parametrize(
    "command",
    ["train", "info", "evaluate", "predict", "translate", "train-linear", "train-decoder", "data embed", "data build"],
)
def test_the_help_fits_a_terminal_of_80_columns(command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run(f"{command} --help")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    if command == "train":
        for group in ("run", "lattice", "energy", "carrier", "training", "loss", "execution"):
            assert f"─ {group} options ─" in printed


def test_modules_of_the_users_are_imported_first(place, capsys) -> None:
    (place / "my_parts.py").write_text("print('imported')\n")
    with pytest.raises(SystemExit):
        run("--import my_parts --version")
    assert capsys.readouterr().out.startswith("imported")
    assert "--import: expected one argument" in refused("--import", capsys)
    assert "no_such_module" in refused("--import no_such_module info", capsys)


# The files of a configuration


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("compile: off", "compile", "off"),
        ("compile: no", "compile", "off"),
        ("checkpointing: on", "checkpointing", "on"),
        ("checkpointing: yes", "checkpointing", "on"),
        ("compile: graphs", "compile", "graphs"),
    ],
)
def test_yamls_booleans_are_the_documented_words(tmp_path, text: str, field: str, value: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    settings = parse(["info", "--preset", "tiny", "--config", str(tmp_path / "c.yaml")]).settings
    assert getattr(settings, field) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_a_configuration_is_read_in_the_encodings_of_editors_and_shells(tmp_path, encoding: str, name: str) -> None:
    text = '{"batch_size": 8}' if name.endswith("json") else "batch_size: 8\n"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / name).write_bytes((mark + text).encode(encoding))
    assert read_fields(tmp_path / name, EnergyConfig) == {"batch_size": 8}


def test_a_file_of_another_encoding_is_named(tmp_path) -> None:
    (tmp_path / "c.yaml").write_bytes("# größe\nbatch_size: 8\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"c.yaml: byte 4 is not utf-8; save the file as UTF-8"):
        read_fields(tmp_path / "c.yaml", EnergyConfig)


@pytest.mark.parametrize(("name", "text"), [("c.yaml", "seed: 1\nseed: 2\n"), ("c.json", '{"seed": 1, "seed": 2}')])
def test_a_field_that_stands_there_twice_is_named(tmp_path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}: seed stands there twice; leave one of them"):
        read_fields(tmp_path / name, EnergyConfig)


def test_the_seed_of_the_weights_leaves_the_rows_of_a_task_as_they_are() -> None:
    from energy_flow.cli.settings import cached_data

    rows = []
    for options in ("--seed 0", "--seed 3", "--seed 3 --data-seed 3"):
        settings = parse(f"train --preset tiny --data rotation {options}".split()).settings
        rows.append(cached_data("rotation", settings.data_seed).test.inputs)
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    old = settings.to_dict() | {"seed": 5}
    del old["data_seed"]
    assert EnergyConfig.from_dict(old).data_seed == 5  # one seed was both in version 0.1


def test_the_memory_of_a_container_counts_as_the_memory_there_is(tmp_path) -> None:
    groups, membership = tmp_path / "cgroup", tmp_path / "self"
    for folder, limit in (("", "max"), ("slice", "9000"), ("slice/job", "max"), ("slice/job/step", "7000")):
        (groups / folder).mkdir(parents=True, exist_ok=True)
        (groups / folder / "memory.max").write_text(f"{limit}\n")
    membership.write_text("0::/slice/job/step\n")
    assert container_limit(groups, membership) == 7000
    membership.write_text("0::/slice/job\n")
    assert container_limit(groups, membership) == 9000
    membership.write_text("0::/\n")
    assert container_limit(groups, membership) is None
    (groups / "memory" / "docker").mkdir(parents=True)
    (groups / "memory" / "docker" / "memory.limit_in_bytes").write_text("5000\n")
    membership.write_text("5:cpu,cpuacct:/docker\n4:memory:/docker\n")
    assert container_limit(groups, membership) == 5000
    assert container_limit(tmp_path / "none", tmp_path / "neither") is None


@pytest.mark.slow
def test_two_processes_in_one_folder(place) -> None:
    """The same command twice at once: one trains, the other says who does."""
    command = [sys.executable, "-m", "energy_flow", *f"{BASE} --epochs 30 --run r --resume auto".split()]
    first = subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=in_root()
    )
    while not list(place.glob("r/run-owner.json")) and first.poll() is None:
        threading.Event().wait(0.05)
    second = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=in_root())
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 2), second.stderr
    assert f"in use by process {first.pid} on" in second.stderr


def in_root() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


# What a fresh pair of eyes broke


def test_the_value_of_an_option_keeps_its_underscores(place) -> None:
    (place / "my_config.yaml").write_text(SMALL)
    (place / "my-config.yaml").write_text(SMALL.replace("batch_size: 8", "batch_size: 4"))
    base = ["train", "--preset", "tiny", "--config=my_config.yaml", "--data=d.safetensors"]
    settings = parse([*base, "--batch_size=2"]).settings
    assert (settings.lattice_width, settings.batch_size) == (6, 2)
    settings = parse(base).settings
    assert settings.batch_size == 8


@pytest.mark.skipif(os.name != "posix", reason="a pipe in the file system")
def test_predict_writes_files_alone(place, capsys) -> None:
    run(f"{BASE} --run r")
    os.mkfifo("pipe")
    assert "is no file that can be replaced" in refused("predict r/best --inputs in5.safetensors --output pipe", capsys)
    Path("link.safetensors").symlink_to(place / "target.safetensors")
    for name in ("new/folder/out.safetensors", "link.safetensors"):
        run(f"predict r/best --inputs in5.safetensors --output {name}")
        assert load_file(name)["outputs"].shape == (5, 16)
    assert Path("link.safetensors").is_symlink()
    long = "x" * 250
    assert "a name is longer" in refused(f"predict r/best --inputs in5.safetensors --output {long}", capsys)


def test_an_empty_path_is_not_this_folder(place, capsys) -> None:
    for option in ("--run=", "--config=", "--init-from="):
        assert "the path is empty" in refused(f"train {option}", capsys)
    assert "data is empty" in refused("train --data=", capsys)
    assert "give one of them" in refused(f"{BASE} --run r --resume auto --overwrite", capsys)


def test_a_lost_configuration_is_that_of_the_newest_checkpoint(place) -> None:
    run(f"{BASE} --run r")
    for broken in ("{", None):
        Path("r/config.json").write_text(broken) if broken else Path("r/config.json").unlink()
        run("train --device cpu --data d.safetensors --run r --resume auto")
        assert json.loads(Path("r/config.json").read_text())["lattice_width"] == 6


def test_a_stop_while_the_test_split_is_judged_says_that_the_run_is_whole(place, monkeypatch, capsys) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("energy_flow.cli.train.print_scores", interrupted)
    with pytest.raises(SystemExit) as stop:
        run(f"{BASE} --run r")
    assert stop.value.code == 130
    assert "the run is whole in r" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_what_is_said_before_the_folder_exists_stands_in_its_log(place) -> None:
    run(f"{BASE} --run r")
    run(f"{BASE} --run longer --resume r/checkpoints/step-000000010 --epochs 3")
    assert "3 epochs instead of 2" in Path("longer/log.jsonl").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1: 2\n", "1 is no name of a field"),
        ("on: true\n", "True is no name of a field"),
        ("? [1, 2]\n: 3\n", "no name of a field|not YAML"),
        ("batch_size: " + "[" * 3000 + "]" * 3000, "nested too deeply|not YAML|batch_size"),
        (f"learning_rate: 1{'0' * 400}\n", "give a finite number"),
        ("learning_rate: .nan\n", "learning_rate = nan"),
        ("seed: 99999999999\n", "seed = 99999999999; give less than"),
    ],
)
def test_what_is_no_configuration_is_one_line(place, capsys, text: str, words: str) -> None:
    (place / "odd.yaml").write_text(text)
    assert re.search(words, refused("info --config odd.yaml", capsys))


def test_yamls_merge_keys_are_read(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("<<: {batch_size: 4, epochs: 7}\nepochs: 2\n")
    assert read_fields(tmp_path / "c.yaml", EnergyConfig) == {"batch_size": 4, "epochs": 2}


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_a_closed_output_is_no_traceback() -> None:
    command = f"{sys.executable} -m energy_flow info --preset debug >&-"
    ran = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_is_there_and_no_map_of_ours_is_not_replaced(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"inputs": torch.randn(40, 6), "targets": torch.randn(40, 4)}, "d.safetensors")
    data = Path("d.safetensors").read_bytes()
    said = refused("train-linear d.safetensors --data d.safetensors", capsys)
    assert "d.safetensors holds something else than a linear map, which would be lost; give a new file" in said
    assert Path("d.safetensors").read_bytes() == data
    main(["train-linear", "m.safetensors", "--data", "d.safetensors"])
    main(["train-linear", "m.safetensors", "--data", "d.safetensors"])  # a map may be replaced
    said = refused("export delivery m.safetensors", capsys)
    assert "m.safetensors exists, and its name is not that of an ONNX file" in said


def test_a_run_without_finite_figures_has_no_best_weights_and_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    given = "train --data delivery --preset pointer --epochs 1 --run r --learning-rate 1e30 --nonfinite skip"
    with pytest.raises(SystemExit) as stop:
        main([*given.split(), "--nonfinite-budget", "100000", "--carrier-hidden-size", "4", "--neuron-hidden-dim", "4"])
    assert stop.value.code == 1
    assert "was not finite at any look" in capsys.readouterr().err


def test_weights_of_a_named_model_start_a_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--init-from", "delivery", "--data", "delivery", "--run", "r", "--time-limit-minutes", "0.001"])
    assert stop.value.code == 75
    assert EnergyConfig.load(Path("r/config.json")).mover == "pointer"


def test_memory_that_is_used_up_is_one_line(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["info", "--carrier-hidden-size", "1000000000"])
    assert stop.value.code == 1
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["analyze", "trace"])
def test_a_file_in_the_place_of_a_run_is_named(tmp_path, capsys, command: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"")
    assert "m.safetensors is a file; give a run folder" in refused(f"{command} {path}", capsys)
