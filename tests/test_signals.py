"""Asked to stop, a run says at once what it waits for, and stops soon: between steps, and between batches of a look."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from energy_flow.core import create_processor
from energy_flow.data import PairData, PairSet
from energy_flow.training import Callback, EnergyTrainer, TrainingStopped
from energy_flow.training.callbacks import Callbacks
from energy_flow.training.run.signals import StopSignals

from .resume_worker import config, data
from .test_resume import metrics, outputs, train
from .test_run_folder import names

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
ROOT = Path(__file__).parent.parent


class Presses(Callback):
    """Presses Ctrl-C after a step."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def after_step(self, trainer, step) -> None:
        if step in self.steps:
            self.steps = tuple(one for one in self.steps if one != step)
            os.kill(os.getpid(), signal.SIGINT)


def trainer_of(run, *steps: int, **changes) -> EnergyTrainer:
    settings = config(**{"checkpoint_every": 3} | changes)
    return EnergyTrainer(create_processor(settings), settings, run, callbacks=[Presses(*steps)])


@pytest.fixture(scope="module")
def uncut() -> torch.Tensor:
    return outputs(train(None))


def test_the_first_signal_says_what_is_awaited_and_what_a_second_does(tmp_path, capsys) -> None:
    with pytest.raises(TrainingStopped, match=r"stopped after step 5 \(SIGINT\), saved in .*step-000000005"):
        trainer_of(tmp_path / "run", 5).fit(data())
    said = capsys.readouterr().err
    assert "SIGINT: waiting for step 5 to end, then the run is saved and stops. A second one ends it at once;" in said
    assert "step-000000004 is on the disk" in said  # which was saved before the first look


def test_in_a_notebook_fit_goes_on_after_an_interrupt_and_removes_no_checkpoint(tmp_path, uncut) -> None:
    trainer = trainer_of(tmp_path / "run", 5, 7, keep_checkpoints=9)
    for _ in range(2):
        before = names(tmp_path / "run") if (tmp_path / "run").exists() else []
        with pytest.raises(TrainingStopped):
            trainer.fit(data())
        assert {*before} < {*names(tmp_path / "run")}
    assert trainer.fit(data()).steps == 12
    assert torch.equal(outputs(trainer), uncut)
    assert not (tmp_path / "run" / "set-aside").exists()


def test_without_a_folder_a_signal_stops_after_the_step_and_fit_goes_on(uncut) -> None:
    trainer = trainer_of(None, 5)
    with pytest.raises(TrainingStopped, match="nothing new was saved; fit goes on from here"):
        trainer.fit(data())
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)


class FailsOnce(Callback):
    failed = False

    def after_step(self, trainer, step) -> None:
        if not self.failed:
            self.failed = True
            raise ArithmeticError


def test_after_an_error_in_a_step_fit_goes_on_from_the_checkpoint(tmp_path, uncut) -> None:
    class Fails(Callback):
        failing = True

        def after_step(self, trainer, step) -> None:
            if step == 7 and Fails.failing:
                Fails.failing = False
                raise ArithmeticError

    settings = config(checkpoint_every=3)
    trainer = EnergyTrainer(create_processor(settings), settings, tmp_path / "run", callbacks=[Fails()])
    with pytest.raises(ArithmeticError):
        trainer.fit(data())
    with torch.no_grad():
        trainer.processor.carrier.norm.weight.zero_()  # what an error may leave behind
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
    train(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    states = [(tmp_path / run / "checkpoints/step-000000012/state.json").read_text() for run in ("run", "whole")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_a_validation_is_left_between_two_of_its_batches_and_what_was_learned_is_saved_before(tmp_path) -> None:
    rows = data()
    many = PairData("many", rows.train, PairSet(torch.randn(400, 12), torch.randn(400, 8)), rows.test)
    trainer = trainer_of(tmp_path / "run", checkpoint_every=0)
    model_run, seen = trainer.processor.run, []

    def counted(embeddings, **options):
        if not trainer.processor.training:
            seen.append(names(tmp_path / "run"))
            if len(seen) == 3:
                os.kill(os.getpid(), signal.SIGINT)
        return model_run(embeddings, **options)

    trainer.processor.run = counted
    with pytest.raises(TrainingStopped, match=r"stopped after step 4 \(SIGINT\), saved in .*step-000000004"):
        trainer.fit(many)
    assert len(seen) == 3
    assert seen[0] == ["step-000000004"]
    trainer.processor.run = model_run
    assert trainer.fit(many).steps == 12


def test_a_stop_is_forgotten_by_the_next_run() -> None:
    stops = StopSignals()
    with stops:
        stops.received = "SIGTERM"
    with stops:
        assert stops.received is None


@pytest.mark.parametrize(("at_a_prompt", "ends"), [(False, "130"), (True, "KeyboardInterrupt")])
def test_a_second_signal_ends_a_process_and_interrupts_a_notebook(at_a_prompt: bool, ends: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stops:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stops.received == "SIGUSR1"
    assert signal.getsignal(signal.SIGTERM) is before
    code = (
        "import os, signal, sys\n"
        f"sys.ps1 = '>>> ' if {at_a_prompt} else None\n"
        f"if not {at_a_prompt}: del sys.ps1\n"
        "from energy_flow.training.run.signals import StopSignals\n"
        "try:\n"
        "    with StopSignals():\n"
        "        os.kill(os.getpid(), signal.SIGTERM); print('noted', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGINT); print('not reached')\n"
        "except KeyboardInterrupt:\n"
        "    print('KeyboardInterrupt')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == (["noted", "KeyboardInterrupt"] if at_a_prompt else ["noted"])
    assert ran.returncode == (0 if at_a_prompt else 128 + signal.SIGINT)
    assert ends in (*ran.stdout.split(), str(ran.returncode))


def test_a_second_run_that_fails_at_once_begins_again(tmp_path) -> None:
    train(tmp_path / "run")
    trainer = EnergyTrainer.resume(tmp_path / "run")
    trainer.fit(data())  # it is finished, and nothing is left to do
    trainer._loop.callbacks = Callbacks([FailsOnce()], trainer)
    with pytest.raises(ArithmeticError):
        trainer.fit(data())
    assert trainer.fit(data()).steps == 12


def test_a_system_with_few_signals_has_those(monkeypatch) -> None:
    for name in ("SIGHUP", "SIGUSR1"):
        monkeypatch.delattr(signal, name)
    with StopSignals() as stops:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stops.received == "SIGTERM"


def test_nohups_wish_is_kept() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stops:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stops.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
