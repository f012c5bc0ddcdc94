"""The figures in Weights & Biases: through a stand-in that notes what it is given, and through the real one offline."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from energy_flow.core import create_processor
from energy_flow.training import EnergyTrainer, WandbCurves

from .resume_worker import config, data
from .test_resume import CutAt


class StandIn:
    """Notes runs, and what each was sent."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []

    def init(self, **options):
        sent: list[dict] = []
        run = SimpleNamespace(options=options, sent=sent, log=sent.append, define_metric=lambda *names, **named: None)
        run.finish = lambda: setattr(run, "finished", True)
        self.runs.append(run)
        return run

    def Table(self, columns, data):  # noqa: N802  # as it is named there
        return [dict(zip(columns, row, strict=True)) for row in data]


def train(run, resume_from=None, cut=()) -> None:
    settings = config(checkpoint_every=3, log_every=1)
    observers = [WandbCurves("study", run, settings), *cut]
    EnergyTrainer(create_processor(settings), settings, run, observers=observers, resume_from=resume_from).fit(data())


def test_every_figure_is_sent_and_a_run_that_goes_on_stays_one(tmp_path, monkeypatch) -> None:
    there = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", there)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", cut=[CutAt(8)])
    train(tmp_path / "run", "auto")
    first, second = there.runs
    assert first.options["project"] == "study"
    assert first.options["config"]["epochs"] == 3
    assert first.options["id"] == second.options["id"]
    assert first.finished and second.finished
    steps = [line["step"] for line in first.sent if "train/loss" in line]
    assert steps == list(range(1, 9))
    assert [line["step"] for line in second.sent if "train/loss" in line] == list(range(7, 13))
    assert [line["step"] for line in second.sent if "validation/loss" in line] == [8, 12]
    (table,) = [line["validation/examples"] for line in second.sent if "validation/examples" in line][-1:]
    assert len(table) == 3
    train(tmp_path / "other")
    assert there.runs[-1].options["id"] != first.options["id"]


def test_a_missing_extra_says_how_to_install_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[wandb\]'"):
        WandbCurves("study", tmp_path, config())


def test_the_real_one_offline(tmp_path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(tmp_path / "run")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
