"""The folder of a run has one owner, and nothing in it is lost: not by opening, not by cleaning, not by a full disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from energy_flow.cli import main
from energy_flow.core import create_processor
from energy_flow.training import (
    EnergyTrainer,
    RunInUseError,
    RunTakenError,
    WeightsNotSavedError,
    training_loop,
    validation,
)
from energy_flow.training.run import checkpoint_store, metrics_file, opening, run_files
from energy_flow.training.run.checkpoint_store import CheckpointStore
from energy_flow.training.run.folder_lock import FolderLock
from energy_flow.training.run.metrics_file import MetricsFile
from energy_flow.training.run.opening import claim_folder
from energy_flow.utils.logging import JsonLinesHandler

from .resume_worker import config, data
from .test_resume import CutAt, cut_run, metrics, outputs, train

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def uncut() -> torch.Tensor:
    return outputs(train(None))


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Who owns the folder


def test_a_second_trainer_is_refused_while_the_first_trains(tmp_path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    words = rf"run folder .* is in use by process {os.getpid()} on \S+ since .*; wait for it"
    with pytest.raises(RunInUseError, match=words):
        train(tmp_path, "auto")
    lock.release()
    assert not list(tmp_path.iterdir())
    train(tmp_path, "auto")
    assert not list(tmp_path.glob("run*"))


def test_a_trainer_that_was_opened_before_another_trained_there_is_refused(tmp_path) -> None:
    settings = config()
    early = EnergyTrainer(create_processor(settings), settings, tmp_path / "run")
    train(tmp_path / "run")
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match="got other checkpoints since it was opened; open the run again"):
        early.fit(data())
    assert everything_in(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, caplog) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from energy_flow.training.run.folder_lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); lock.acquire(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir())
    train(tmp_path, "auto")
    assert "left this run without closing it: taken over" in caplog.text


@pytest.mark.parametrize("theft", ["another owner", "no owner"])
def test_nothing_is_written_into_a_folder_that_somebody_took(tmp_path, theft: str) -> None:
    class Thief(CutAt):
        def observe(self, records) -> None:
            if any(record["step"] == self.step for record in records):
                for path in tmp_path.glob("run/run*"):
                    path.unlink()
                if theft == "another owner":
                    FolderLock(tmp_path / "run").acquire()
                self.before = everything_in(tmp_path / "run")

    thief = Thief(6)
    words = "was taken over by process" if theft == "another owner" else "lost the files of its lock"
    with pytest.raises(RunTakenError, match=f"{words} .*: it stops, and writes nothing more there"):
        train(tmp_path / "run", observers=[thief])
    assert {name: value for name, value in everything_in(tmp_path / "run").items() if "events" not in name} == {
        name: value for name, value in thief.before.items() if "events" not in name
    }


def test_runs_that_start_within_a_second_get_folders_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(opening.time, "strftime", lambda form: "20260101-000000")
    found = [claim_folder(tmp_path / "runs").name for _ in range(4)]
    assert found == ["20260101-000000", *(f"20260101-000000-{number}" for number in (2, 3, 4))]


@pytest.mark.parametrize(
    ("folder", "words"),
    [("file/run", "is a file; give a folder"), ("file", "is a file"), ("x" * 300, "longer than the 255 bytes")],
)
def test_a_folder_that_cannot_be_made_is_named_before_anything_is_computed(
    tmp_path, monkeypatch, capsys, folder: str, words: str
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("energy_flow.cli.settings.cached_data", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(SystemExit) as stop:
        main(["train", "--preset", "tiny", "--run", str(tmp_path / folder)])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in error and error.count("\n") == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions, which root does not have")
def test_a_folder_that_may_not_be_written_is_named(tmp_path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ValueError, match="cannot be written"):
        train(tmp_path / "closed" / "run")


def test_a_disk_without_room_is_named_before_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
    with pytest.raises(ValueError, match="the disk has 0.0 MiB free, and the run needs 0.1"):
        train(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


# Whose checkpoints they are


def test_what_a_user_leaves_among_the_checkpoints_stays_and_is_never_taken_up(tmp_path, uncut) -> None:
    run = tmp_path / "run"
    cut_run(run, 8)
    newest = run / "checkpoints" / names(run)[-1]
    mine = ("step-000000000-keep", "step-999-keep", "step-000000999", "old")
    for name in mine:
        shutil.copytree(newest, newest.with_name(name))
    (newest.with_name(f"{newest.name}.tar")).write_bytes(b"a tar of mine")
    (newest.with_name("step-000000777")).write_text("a file with a checkpoint's name")
    assert CheckpointStore(newest.parent).newest() == newest
    assert torch.equal(outputs(train(run, "auto")), uncut)
    assert {*mine, f"{newest.name}.tar", "step-000000777"} <= {*names(run)}


def test_a_copy_is_not_counted_among_those_that_are_kept(tmp_path) -> None:
    train(tmp_path / "run", keep_checkpoints=2)
    newest = CheckpointStore(tmp_path / "run" / "checkpoints").all()[-1]
    shutil.copytree(newest, newest.with_name("step-000000500"))
    own = names(tmp_path / "run")
    train(tmp_path / "run", "auto", keep_checkpoints=2)
    assert names(tmp_path / "run") == own


def test_what_cannot_be_removed_is_a_warning_and_the_checkpoint_is_saved(tmp_path, uncut, monkeypatch, caplog) -> None:
    remove = shutil.rmtree

    def refuses(path, ignore_errors=False) -> None:
        if not ignore_errors and Path(path).name == "step-000000003":
            raise PermissionError(errno.EACCES, "somebody reads it")
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(checkpoint_store.shutil, "rmtree", refuses)
    assert torch.equal(outputs(train(tmp_path / "run", keep_checkpoints=2)), uncut)
    assert "step-000000003 cannot be removed" in caplog.text
    assert "no checkpoint" not in caplog.text
    assert {"step-000000003", "step-000000012"} <= {*names(tmp_path / "run")}


def test_weights_without_a_checkpoint_are_never_trained_over(tmp_path) -> None:
    train(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=r"has weights and no checkpoint .* start a new run .*--init-from \S+last"):
        train(tmp_path / "run", "auto")
    assert everything_in(tmp_path) == before


def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path) -> None:
    cut_run(tmp_path / "run")
    left = [
        ".metrics.jsonl.77.tmp",
        "best/.model.safetensors.77.tmp",
        "last/.config.json.77.tmp",
        ".run-owner.json.77.tmp",
    ]
    for name in left:
        (tmp_path / "run" / name).write_text("half")
    (tmp_path / "run" / ".mine.tmp").write_text("mine")
    train(tmp_path / "run", "auto")
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == [".mine.tmp"]


def test_a_checkpoint_that_was_about_to_be_replaced_comes_back(tmp_path, monkeypatch) -> None:
    train(tmp_path / "run")
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    final, replace = store.all()[-1], os.replace
    before = everything_in(final)

    def fails(source, target) -> None:
        if Path(target) == final and not str(source).endswith(".old.tmp"):
            raise PermissionError(errno.EACCES, "a scanner holds it")
        replace(source, target)

    with monkeypatch.context() as failing:
        failing.setattr(checkpoint_store.os, "replace", fails)
        with pytest.raises(PermissionError):
            store.save(12, {"file": lambda path: path.write_text("new")}, {})
    assert everything_in(final) == before
    final.rename(final.with_name(f".{final.name}.old.tmp"))  # as where the process was killed between the two moves
    store.remove_unfinished()
    assert everything_in(final) == before


def test_opening_removes_nothing(tmp_path) -> None:
    cut_run(tmp_path / "run", 8)
    (tmp_path / "run" / "checkpoints" / ".step-000000009.77.tmp").mkdir()
    before, settings = everything_in(tmp_path), config(checkpoint_every=3)
    for overwrite, resume in ((True, None), (False, "auto")):
        EnergyTrainer(create_processor(settings), settings, tmp_path / "run", overwrite, resume_from=resume)
    assert everything_in(tmp_path) == before
    assert (tmp_path / "run" / "checkpoints" / ".step-000000009.77.tmp").exists()


# What the disk does not take


class FillsTheDisk(CutAt):
    """From the end of an epoch on, no weights and no checkpoint can be written."""

    def __init__(self, epoch: int, monkeypatch) -> None:
        self.epoch, self.patch = epoch, monkeypatch

    def observe(self, records) -> None:
        pass

    def validate(self, record, examples) -> None:
        if record["epoch"] == self.epoch:

            def full(*arguments, **named):
                raise OSError(errno.ENOSPC, "No space left on device")

            for name in ("sharing.model_files.save_file", "training.run.checkpoint_files.save_file"):
                self.patch.setattr(f"energy_flow.{name}", full)


def test_a_run_whose_last_weights_are_not_on_the_disk_says_which_are(tmp_path, monkeypatch) -> None:
    words = r"the last and best weights are missing in .*: best is of epoch 1 \(step 4\), last is of epoch 1"
    with pytest.raises(WeightsNotSavedError, match=words):
        train(tmp_path / "run", observers=[FillsTheDisk(2, monkeypatch)])
    monkeypatch.undo()
    trainer = train(tmp_path / "run", "auto")
    assert torch.equal(outputs(trainer), outputs(train(None)))
    assert json.loads((tmp_path / "run/checkpoints/step-000000012/state.json").read_text())["kept"]["last"] == 12


def test_the_best_weights_are_those_on_the_disk_where_better_ones_could_not_be_written(tmp_path, monkeypatch) -> None:
    """Epoch 2 is the best and is not written; epoch 3 is worse than 2 and better than 1: it is kept as the best."""
    losses, judge = iter([3.0, 1.0, 2.0]), validation.Validation.judge
    monkeypatch.setattr(
        validation.Validation, "judge", lambda self, *given: judge(self, *given)._replace(loss=next(losses))
    )
    failing = iter([False, False, True, True, False, False, False, False])

    def sometimes(processor, folder) -> None:
        if next(failing):
            raise OSError(errno.ENOSPC, "No space left on device")
        written(processor, folder)

    written = training_loop.save_model
    monkeypatch.setattr(training_loop, "save_model", sometimes)
    with pytest.raises(WeightsNotSavedError, match=r"the best weights .*: best is of epoch 3 .*last is of epoch 3"):
        train(tmp_path / "run")


def test_metrics_wait_until_the_disk_has_room(tmp_path, monkeypatch, caplog) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.observe([{"step": 1.0}])
    opened = Path.open

    class Full:
        def __init__(self, real) -> None:
            self.real = real

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self.real.close()

        def tell(self) -> int:
            return self.real.tell()

        def truncate(self, size) -> None:
            self.real.truncate(size)

        def write(self, content) -> None:
            self.real.write(content[:9])
            self.real.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(metrics_file.Path, "open", lambda path, mode: Full(opened(path, mode)))
        file.observe([{"step": 2.0}])
        file.observe([{"step": 3.0}])
    assert caplog.text.count("they wait until there is room") == 1
    file.observe([{"step": 4.0}])
    file.close()
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4]


def test_an_observer_that_fails_is_named_and_switched_off_and_training_goes_on(tmp_path, uncut, caplog) -> None:
    class Fails(CutAt):
        calls = 0

        def observe(self, records) -> None:
            Fails.calls += 1
            raise RuntimeError("out of paper")

    assert torch.equal(outputs(train(tmp_path / "run", observers=[Fails(0)])), uncut)
    assert Fails.calls == 1
    assert "the observer Fails failed (RuntimeError: out of paper) and is switched off" in caplog.text
    assert [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "train"] == list(range(1, 13))


def test_a_log_that_cannot_be_written_prints_one_line_and_no_traceback(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    handler = JsonLinesHandler(tmp_path / "folder.jsonl")
    record = logging.LogRecord("energy_flow", logging.INFO, "here", 1, "words", None, None)
    for _ in range(3):
        handler.handle(record)
    handler.close()
    assert capsys.readouterr().err.count("\n") == 1


# What a fresh pair of eyes broke


def test_overwriting_removes_the_files_of_a_run_alone(tmp_path) -> None:
    run = tmp_path / "run"
    train(run)
    mine = [
        "checkpoints/step-keep/model.safetensors",
        "checkpoints/notes.txt",
        "best/mine.pt",
        "wandb/mine",
        "data.csv",
    ]
    for name in mine:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    settings = config(checkpoint_every=3, epochs=1)
    EnergyTrainer(create_processor(settings), settings, run, overwrite=True).fit(data())
    assert all((run / name).read_text() == "mine" for name in mine)
    assert CheckpointStore(run / "checkpoints").all()[-1].name == "step-000000004"


def test_a_folder_with_a_stranger_s_configuration_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model": "mine"}')
    settings = config()
    with pytest.raises(ValueError, match="is no run's to replace: .*model: no such field"):
        EnergyTrainer(create_processor(settings), settings, tmp_path, overwrite=True)


@pytest.mark.parametrize(
    "line",
    [
        "null",
        '{"kind": "train", "step": ',
        *(pytest.param(line, marks=pytest.mark.slow) for line in ("123", '{"a": 1}', "\x00\x00")),
    ],
)
def test_a_damaged_line_of_the_metrics_ends_no_run(tmp_path, uncut, line: str) -> None:
    cut_run(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(line.encode() + b"\n\xff\xfe\n")
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)
    assert [one["step"] for one in metrics(tmp_path / "run") if one["kind"] == "train"] == list(range(1, 13))


def test_a_file_in_the_place_of_the_curves_ends_no_run(tmp_path, uncut, caplog) -> None:
    cut_run(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "tensorboard")
    (tmp_path / "run" / "tensorboard").write_text("a file")
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)
    assert "no TensorBoard curves in" in caplog.text


class Removes(CutAt):
    """Removes something from the run's folder in an epoch."""

    def __init__(self, epoch: int, path: Path) -> None:
        self.epoch, self.path = epoch, path

    def observe(self, records) -> None:
        pass

    def validate(self, record, examples) -> None:
        if record["epoch"] == self.epoch:
            shutil.rmtree(self.path)


def test_best_weights_that_were_removed_are_missed_at_the_end(tmp_path, monkeypatch) -> None:
    losses, judge = iter([1.0, 2.0, 3.0]), validation.Validation.judge
    monkeypatch.setattr(
        validation.Validation, "judge", lambda self, *given: judge(self, *given)._replace(loss=next(losses))
    )
    with pytest.raises(WeightsNotSavedError, match=r"the best weights are missing in .*: best is of epoch 3"):
        train(tmp_path / "run", observers=[Removes(3, tmp_path / "run" / "best")])


def test_last_weights_that_were_removed_are_written_again(tmp_path) -> None:
    train(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "last")
    train(tmp_path / "run", "auto")
    assert (tmp_path / "run" / "last" / "model.safetensors").exists()


def test_a_relative_folder_stays_where_it_was_opened(tmp_path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = config()
    trainer = EnergyTrainer(create_processor(settings), settings, "run")
    monkeypatch.chdir(tmp_path / "elsewhere")
    trainer.fit(data())
    assert (tmp_path / "run" / "last").is_dir()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_folder_of_the_user_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert opening.open_run("~/run", False, None, config()).folder == tmp_path / "run"


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nothing/run", "is a link to nothing"),
        ("zero\0byte", "cannot hold a zero byte"),
        ("long/" * 1000, "longer than 4000"),
    ],
)
def test_other_paths_that_cannot_be_used_are_named(tmp_path, folder: str, words: str) -> None:
    (tmp_path / "nothing").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=words):
        opening.open_run(tmp_path / folder, False, None, config())


def test_a_run_within_a_checkpoint_is_refused(tmp_path) -> None:
    train(tmp_path / "run")
    inside = tmp_path / "run" / "checkpoints" / "step-000000012" / "mine"
    with pytest.raises(ValueError, match="lies in the checkpoint"):
        opening.open_run(inside, False, None, config())
