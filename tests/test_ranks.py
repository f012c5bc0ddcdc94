"""Several processes that train together compute what one would, stop together, and go on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from energy_flow.distributed import Ranks

from .test_resume import STEPS, final_bytes, metrics
from .together import ROOT, finish, start

WORKER = "tests.resume_worker"


def train(count: int, run: Path, *cut: str, **fields) -> list[tuple[int, str]]:
    """Train in several processes; exit code and words of each."""
    return finish(start(count, WORKER, str(run), json.dumps({"checkpoint_every": 3} | fields), *cut))


def codes(ended: list[tuple[int, str]]) -> list[int]:
    assert all("Traceback" not in words for _, words in ended), ended
    return [code for code, _ in ended]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in metrics(run) if line["kind"] == "train"]


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{STEPS:09d}" / "model.safetensors")


def command_that_goes_on(folder: Path, run: Path) -> list[str]:
    """`train` on 400 pairs, which starts a run or goes on with it."""
    inputs = torch.randn(400, 16)
    save_file({"inputs": inputs, "targets": inputs.roll(1, dims=1)}, folder / "pairs.safetensors")
    options = ["--device", "cpu", "--resume", "auto", "--data", str(folder / "pairs.safetensors")]
    return ["train", "--run-folder", str(run), *options]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A run of two processes that was never cut."""
    run = tmp_path_factory.mktemp("pair") / "run"
    assert codes(train(2, run)) == [0, 0]
    return run


def test_shares_cover_every_row_once_and_differ_by_one_at_most() -> None:
    ranks = Ranks()
    for count in range(12):
        rows: list[int] = []
        ranks.count = 5
        for ranks.rank in range(5):
            own = list(range(count))[ranks.share(count)]
            assert count // 5 <= len(own) <= count // 5 + 1
            rows += own
        assert rows == list(range(count))


def test_two_processes_compute_what_one_does(tmp_path) -> None:
    fields = {"epochs": 2, "loss_contrastive": 0.5, "learning_rate": 1e-3}
    assert codes(train(1, tmp_path / "one", **fields)) == [0]
    assert codes(train(2, tmp_path / "two", **fields)) == [0, 0]
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6, abs=0)
    assert len(losses(tmp_path / "two")) == 8
    assert not list((tmp_path / "two").rglob(".*"))
    for line, other in zip(one, two, strict=True):
        line.pop("examples", None), other.pop("examples", None)
        assert line.keys() == other.keys()
        for name in line.keys() - {"kind"}:
            assert other[name] == pytest.approx(line[name], rel=1e-4, abs=1e-6), name


@pytest.mark.slow
def test_a_batch_of_fewer_rows_than_processes(tmp_path) -> None:
    fields = {"batch_size": 29, "learning_rate": 1e-3}  # the last batch of an epoch has one row
    assert codes(train(1, tmp_path / "one", **fields)) == [0]
    assert codes(train(3, tmp_path / "three", **fields)) == [0, 0, 0]
    assert [line["rows"] for line in metrics(tmp_path / "three") if line["kind"] == "train"] == [29.0, 1.0] * 3
    assert losses(tmp_path / "three") == pytest.approx(losses(tmp_path / "one"), rel=1e-6, abs=0)
    norms = [[line.get("gradient_norm", 0.0) for line in metrics(tmp_path / run)] for run in ("one", "three")]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


@pytest.mark.slow
def test_the_first_process_alone_writes(pair) -> None:
    assert [line["step"] for line in metrics(pair) if line["kind"] == "train"] == list(range(1, STEPS + 1))
    assert not list(pair.rglob(".*"))
    names = load_file(pair / "checkpoints" / f"step-{STEPS:09d}" / "random.safetensors")
    assert set(names) == {"cpu", "rank 1, cpu"}
    assert not torch.equal(names["cpu"], names["rank 1, cpu"])


@pytest.mark.slow
def test_resume_of_two_processes_ends_with_the_same_bits(tmp_path, pair) -> None:
    cut = train(2, tmp_path / "run", "step", "7")
    assert all(code != 0 for code, _ in cut)
    assert codes(train(2, tmp_path / "run")) == [0, 0]
    assert final_bytes(tmp_path / "run") == final_bytes(pair)
    assert metrics(tmp_path / "run") == metrics(pair)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "cut", [("start", "0"), ("step", "7"), ("step", "8"), ("validation", "2"), ("forward", "16")], ids="-".join
)
def test_resume_of_two_processes_after_every_cut(tmp_path, precision: str, cut: tuple[str, str]) -> None:
    fields = {"precision": precision, "accumulation": 2, "checkpoint_every": 4, "shard_optimizer": True}
    assert codes(train(2, tmp_path / "whole", **fields)) == [0, 0]
    assert all(code != 0 for code, _ in train(2, tmp_path / "run", *cut, **fields))
    assert codes(train(2, tmp_path / "run", **fields)) == [0, 0]
    assert final_bytes(tmp_path / "run") == final_bytes(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.slow
def test_resume_with_another_number_of_processes_says_so_and_agrees_to_rounding(tmp_path, pair) -> None:
    assert all(code != 0 for code, _ in train(2, tmp_path / "run", "step", "7", shard_optimizer=True))
    ((code, words),) = train(1, tmp_path / "run")
    assert code == 0
    assert "the run had 2 processes and goes on with 1: it is the same to rounding" in words
    found, wanted = final_weights(tmp_path / "run"), final_weights(pair)
    for name, weights in wanted.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_sharded_optimizer_gives_the_same_bits(tmp_path, pair) -> None:
    assert codes(train(2, tmp_path / "run", shard_optimizer=True)) == [0, 0]
    found, wanted = final_bytes(tmp_path / "run"), final_bytes(pair)
    for name in ("model.safetensors", "optimizer.safetensors", "best/model.safetensors"):
        assert found[name] == wanted[name], name


@pytest.mark.slow
def test_what_goes_wrong_on_one_process_is_met_by_all(tmp_path) -> None:
    """Out of memory, then a number that is not finite, both on the second process alone."""
    ended = finish(start(2, "tests.failing_worker", str(tmp_path / "run")))
    assert codes(ended) == [0, 0]
    for _, words in ended:
        assert "out of memory: 2 micro-batches from now on" in words
        assert "step 5: not finite first in the input; nothing was updated" in words
        assert "Left out: 1 of 10" in words
        assert "no room: a single row" in words
        assert "the processes have different training rows or epochs; give all the same" in words
        assert "the processes have different configurations; give all the same" in words
    steps = [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "train"]
    assert steps == [step for step in range(1, STEPS + 1) if step != 5]
    kept = load_file(tmp_path / "run" / "nonfinite" / "step-000000005.safetensors")
    assert kept["inputs"].shape == (8, 12)


@pytest.mark.slow
def test_more_processes_than_rows_of_a_batch_are_refused(tmp_path) -> None:
    for code, words in train(9, tmp_path / "run")[:1]:
        assert code != 0
        assert "batch_size = 8; 9 processes need a row each: give at least 9" in words


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_torchrun_trains_and_a_signal_to_one_process_stops_all(tmp_path) -> None:
    run = tmp_path / "run"
    command = command_that_goes_on(tmp_path, run)
    options = "--preset tiny --epochs 6 --batch-size 16 --log-every 1 --carrier-hidden-size 8 --neuron-hidden-dim 8"
    running = start(2, "energy_flow", *command, *options.split())
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
        assert running[0].poll() is None, running[0].communicate()
        time.sleep(0.05)
    running[1].send_signal(signal.SIGTERM)
    ended = finish(running)
    assert codes(ended) == [75, 75]
    assert "(SIGTERM), saved in" in ended[0][1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*torchrun, "-m", "energy_flow", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("test split, best weights") == 1
    assert [line["step"] for line in metrics(run) if line["kind"] == "train"] == list(range(1, 121))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_where_one_process_is_killed_the_others_say_so_and_the_run_goes_on(tmp_path) -> None:
    run = tmp_path / "run"
    options = "--preset tiny --epochs 3 --batch-size 16 --carrier-hidden-size 8 --neuron-hidden-dim 8"
    command = [*command_that_goes_on(tmp_path, run), "--checkpoint-every", "5", *options.split()]
    running = start(2, "energy_flow", *command)
    while not list(run.glob("checkpoints/step-*")):
        assert running[0].poll() is None, running[0].communicate()
        time.sleep(0.01)
    running[1].kill()
    words = running[0].communicate(timeout=60)[0]
    running[1].communicate()
    assert running[0].returncode == 1
    assert "energy-flow: error: another process of this run is gone or unreachable" in words
    assert "Traceback" not in words
    assert codes(finish(start(2, "energy_flow", *command))) == [0, 0]
    assert metrics(run)[-1]["step"] == 60
