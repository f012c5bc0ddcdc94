"""A run that was cut and goes on ends with the same bits as one that was not; no cut and no damage loses more than a
checkpoint's distance."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from energy_flow.cli import main
from energy_flow.core import create_processor
from energy_flow.data import PairData
from energy_flow.training import EnergyTrainer, TrainingStopped
from energy_flow.training.run import checkpoint_files, run_state
from energy_flow.training.run.checkpoint_store import CheckpointStore

from .resume_worker import config, data

ROOT = Path(__file__).parent.parent
FILES = ("config.json", "model.safetensors", "state.json", "optimizer.safetensors", "random.safetensors")
STEPS = 12  # of the whole run: 3 epochs of 4


def in_a_fresh_process(run: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "tests.resume_worker", str(run), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode


def final_bytes(run: Path) -> dict[str, bytes]:
    folder = run / "checkpoints" / f"step-{STEPS:09d}"
    kept = {name: (folder / name).read_bytes() for name in FILES}
    return kept | {f"best/{name}": (run / "best" / name).read_bytes() for name in FILES[:2]}


def metrics(run: Path) -> list[dict]:
    timed = ("flow_steps_per_second", "step_seconds", "memory_bytes")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that were never cut, by the fields of their configuration."""
    runs: dict[str, Path] = {}

    def run(settings: str) -> Path:
        if settings not in runs:
            runs[settings] = tmp_path_factory.mktemp("whole") / "run"
            assert in_a_fresh_process(runs[settings], settings) == 0
        return runs[settings]

    return run


BY_3, BY_4 = '{"checkpoint_every": 3}', '{"checkpoint_every": 4}'
CUTS = {  # fields of the configuration; then where the process dies
    "start": (BY_3, "start", "0"),
    "inside an epoch, two threads read ahead": ('{"checkpoint_every": 3, "loader_workers": 2}', "step", "7"),
    "epoch end": (BY_4, "step", "8"),
    "after validation": (BY_4, "validation", "2"),
    "inside an accumulation, bfloat16": (
        '{"precision": "bfloat16", "checkpoint_every": 3, "accumulation": 2}',
        "forward",
        "16",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_resume_in_a_fresh_process_ends_with_the_same_bits(tmp_path, whole, cut: str) -> None:
    settings, kind, number = CUTS[cut]
    run = tmp_path / "run"
    assert in_a_fresh_process(run, settings, kind, number) != 0
    assert not (run / "checkpoints" / f"step-{STEPS:09d}").exists()
    assert in_a_fresh_process(run, settings) == 0
    assert final_bytes(run) == final_bytes(whole(settings))
    assert metrics(run) == metrics(whole(settings))


def train(run: Path | None, resume_from=None, observers=(), **changes) -> EnergyTrainer:
    settings = config(**{"checkpoint_every": 3} | changes)
    trainer = EnergyTrainer(create_processor(settings), settings, run, observers=observers, resume_from=resume_from)
    trainer.fit(data())
    return trainer


class CutAt:
    """Raises after a step, as an error in the middle of training would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records) -> None:
        if any(record["step"] == self.step for record in records):
            raise KeyboardInterrupt

    def validate(self, record, examples) -> None:
        pass

    def close(self) -> None:
        pass


def cut_run(run: Path, step: int = 8, **changes) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(run, observers=[CutAt(step)], **changes)


def outputs(trainer: EnergyTrainer) -> torch.Tensor:
    return trainer.predict(data().test.inputs)


@pytest.fixture(scope="module")
def uncut() -> torch.Tensor:
    return outputs(train(None))


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=pytest.mark.slow if step % 6 else ()) for step in range(2, STEPS + 1, 2)]
)
def test_resume_from_every_report_gives_the_same_outputs(tmp_path, uncut, step: int) -> None:
    cut_run(tmp_path / "run", step)
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)


def test_resume_by_name_goes_on_from_an_older_checkpoint(tmp_path, uncut) -> None:
    cut_run(tmp_path / "run", 10)
    folders = CheckpointStore(tmp_path / "run" / "checkpoints").all()
    trainer = EnergyTrainer.resume(tmp_path / "run", folders[0])
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
    again = EnergyTrainer.resume(tmp_path / "run")
    result = again.fit(data())  # finished already: nothing is left to do
    assert result.steps == STEPS
    assert torch.equal(outputs(again), uncut)


def test_resume_keeps_what_no_number_depends_on_free(tmp_path, uncut) -> None:
    cut_run(tmp_path / "run")
    free = {"log_every": 3, "checkpoint_every": 5, "keep_checkpoints": 2, "loader_workers": 1}
    assert torch.equal(outputs(train(tmp_path / "run", "auto", **free)), uncut)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"carrier_hidden_size": 16}, r"other fields: carrier_hidden_size = 16 \(was 8\)"),
        ({"learning_rate": 1e-3, "seed": 1}, r"learning_rate = 0.001 \(was 0.01\), seed = 1 \(was 0\)"),
    ],
)
def test_resume_refuses_what_would_compute_something_else(tmp_path, changes, words: str) -> None:
    cut_run(tmp_path / "run")
    with pytest.raises(ValueError, match=words):
        train(tmp_path / "run", "auto", **changes)


def test_resume_refuses_other_data_and_other_lengths(tmp_path) -> None:
    cut_run(tmp_path / "run")
    rows = data()
    other = PairData("other", rows.train.subset(torch.arange(29, -1, -1)), rows.validation, rows.test, rows.bank)
    with pytest.raises(ValueError, match="the run that goes on has other training rows"):
        EnergyTrainer.resume(tmp_path / "run").fit(other)
    with pytest.raises(ValueError, match="epochs = 1; the run that goes on is in epoch 2: give at least 2"):
        EnergyTrainer.resume(tmp_path / "run").fit(rows, epochs=1)


@pytest.mark.parametrize(
    "damage", ["flip", *(pytest.param(how, marks=pytest.mark.slow) for how in ("truncate", "remove"))]
)
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "manifest.json"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in [*FILES, "manifest.sha256"]
        if name != "model.safetensors"
    ],
)
def test_resume_finds_damage_says_so_and_takes_the_one_before(tmp_path, uncut, caplog, name: str, damage: str) -> None:
    cut_run(tmp_path / "run", 10)
    before, newest = CheckpointStore(tmp_path / "run" / "checkpoints").all()[-2:]
    path = newest / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert CheckpointStore(tmp_path / "run" / "checkpoints").newest() == before
    assert f"{newest} is damaged" in caplog.text
    with pytest.raises(ValueError, match="is damaged"):
        train(tmp_path / "run", newest)
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)


def test_resume_never_starts_anew_over_damaged_checkpoints(tmp_path) -> None:
    cut_run(tmp_path / "run", 10)
    for folder in CheckpointStore(tmp_path / "run" / "checkpoints").all():
        (folder / "state.json").unlink()
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        train(tmp_path / "run", "auto")
    with pytest.raises(ValueError, match="no whole checkpoint to go on from"):
        EnergyTrainer.resume(tmp_path / "run")


def test_resume_refuses_a_newer_format(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("energy_flow.training.run.checkpoint_store.FORMAT", 5)
        cut_run(tmp_path / "run")
    with pytest.raises(ValueError, match="has format 5 and this version reads up to 4; update"):
        train(tmp_path / "run", "auto")


def test_resume_reads_the_format_before(tmp_path, uncut, monkeypatch) -> None:
    """Format 1 did not know how many processes there were: one; nor, as format 2, a budget of flows."""
    with monkeypatch.context() as older:
        older.setattr("energy_flow.training.run.checkpoint_store.FORMAT", 1)
        older.setattr(
            run_state, "asdict", lambda state: {k: v for k, v in asdict(state).items() if k not in ("ranks", "budget")}
        )
        cut_run(tmp_path / "run")
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)


def test_resume_of_nothing_starts_and_never_over_something_else(tmp_path) -> None:
    train(tmp_path / "new", "auto")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="exists and is not empty"):
        train(tmp_path / "mine", "auto")
    settings = config()
    with pytest.raises(ValueError, match="give its run_folder, and do not overwrite it"):
        EnergyTrainer(create_processor(settings), settings, resume_from="auto")


def test_a_second_fit_is_a_run_of_its_own(tmp_path) -> None:
    trainer = train(tmp_path / "run")
    trainer._run._extra = (CutAt(4),)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data())
    assert [folder.name for folder in CheckpointStore(tmp_path / "run" / "checkpoints").all()] == ["step-000000003"]
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4]


def test_the_newest_few_are_kept_and_nothing_half_written(tmp_path) -> None:
    leftover = tmp_path / "run" / "checkpoints" / ".step-000000003.77.tmp"
    train(tmp_path / "run", checkpoint_every=2, keep_checkpoints=2)
    leftover.mkdir()
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    assert [folder.name for folder in store.all()] == ["step-000000010", "step-000000012"]
    assert leftover.exists()  # looking removes nothing
    store.remove_unfinished()
    assert not leftover.exists()
    with pytest.raises(ValueError, match="keep_checkpoints = 1; give at least 2"):
        CheckpointStore(tmp_path, keep=1)


def test_a_full_disk_keeps_the_old_checkpoint_and_training_goes_on(tmp_path, uncut, monkeypatch, caplog) -> None:
    written = checkpoint_files.write_text

    def full(text, path) -> None:
        if '"step": 6' not in text and '"step": 3' not in text and path.name == "state.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        written(text, path)

    monkeypatch.setattr(checkpoint_files, "write_text", full)
    trainer = train(tmp_path / "run")
    assert torch.equal(outputs(trainer), uncut)
    assert "no checkpoint at step 9 ([Errno 28] No space left on device): what was written before stays" in caplog.text
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    assert store.newest() == store.folder / "step-000000006"
    assert not list(store.folder.glob(".*"))


def test_the_time_limit_saves_and_stops(tmp_path, uncut) -> None:
    with pytest.raises(TrainingStopped, match=r"stopped after step 1 \(time limit\), saved in .*step-000000001; go on"):
        train(tmp_path / "run", time_limit_minutes=1e-9)
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)


def test_checkpoints_go_by_the_clock_too(tmp_path) -> None:
    train(tmp_path / "run", checkpoint_every=0, checkpoint_minutes=1e-9, keep_checkpoints=20)
    assert len(CheckpointStore(tmp_path / "run" / "checkpoints").all()) == STEPS


@pytest.mark.parametrize("by", ["loss", "cosine", "median_rank", "acc_10"])
def test_the_best_weights_are_the_best_by_the_chosen_figure(tmp_path, by: str) -> None:
    settings = config(best_by=by)
    result = EnergyTrainer(create_processor(settings), settings, tmp_path / "run").fit(data())
    figures = [report.validation_loss if by == "loss" else getattr(report.validation, by) for report in result.epochs]
    wanted = min(figures) if by in ("loss", "median_rank") else max(figures)
    assert result.best_epoch == 1 + figures.index(wanted)


def test_a_finished_run_is_judged_again_with_other_free_options(tmp_path, capsys) -> None:
    inputs = torch.randn(60, 16)
    save_file({"inputs": inputs, "targets": inputs.clone()}, tmp_path / "pairs.safetensors")
    command = [
        "train",
        "--data",
        str(tmp_path / "pairs.safetensors"),
        "--run",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    ]
    main([*command, "--preset", "tiny", "--epochs", "1", "--carrier-hidden-size", "8"])
    main([*command, "--resume", "auto", "--log-every", "3"])
    assert capsys.readouterr().out.count("test split, best weights") == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_signal_saves_and_the_command_goes_on_with_resume(tmp_path) -> None:
    inputs = torch.randn(200, 16)
    save_file({"inputs": inputs, "targets": inputs.roll(1, dims=1)}, tmp_path / "pairs.safetensors")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "energy_flow", "train", "--device", "cpu", "--run", str(run), "--resume", "auto"]
    command += ["--data", str(tmp_path / "pairs.safetensors")]
    options = "--preset tiny --epochs 3 --batch-size 16 --log-every 1 --carrier-hidden-size 8 --neuron-hidden-dim 8"
    running = subprocess.Popen(
        [*command, *options.split()], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    error = running.communicate()[1]
    assert running.returncode == 75, error
    assert "(SIGTERM), saved in" in error
    (folder,) = (run / "checkpoints").glob("step-*")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"step {int(folder.name[5:])} of 30" in " ".join(ran.stdout.split())
    steps = [line["step"] for line in metrics(run) if line["kind"] == "train"]
    assert steps == list(range(1, 31))
