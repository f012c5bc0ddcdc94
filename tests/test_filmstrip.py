"""What the flows of a validation row do while a run trains: kept in the run folder, whatever becomes of the run."""

from __future__ import annotations

import pytest
import torch

from energy_flow.training import EnergyTrainer
from energy_flow.utils import DeviceManager

from .test_training import SMALL, create_processor, data

pytest.importorskip("tyro")
from energy_flow.cli.filmstrip import Filmstrip

CPU = DeviceManager("cpu", "float32")


def run(folder, epochs: int, **changes) -> EnergyTrainer:
    config = SMALL.replace(epochs=epochs, checkpoint_every=1, ema_decay=0.5)
    strip = Filmstrip(folder, data().validation)
    trainer = EnergyTrainer(create_processor(config), config, folder, devices=CPU, callbacks=[strip], **changes)
    trainer.fit(data())
    return trainer


def frames(folder) -> list[str]:
    return sorted(path.name for path in (folder / "flows").iterdir())


def test_every_look_leaves_a_frame_and_a_run_that_goes_on_has_those_of_before(tmp_path) -> None:
    folder = tmp_path / "run"
    run(folder, 2)
    assert len(frames(folder)) == 2
    assert "step " in (folder / "flows.html").read_text(encoding="utf-8")
    run(folder, 3, resume_from="auto")
    assert len(frames(folder)) == 3
    scene = Filmstrip(folder, data().validation).scene(10**6)
    assert [note.name for note in scene.samples] == [f"step {int(name[5:14])}" for name in frames(folder)]
    run(folder, 1, overwrite=True)
    assert len(frames(folder)) == 1


def test_flows_are_watched_with_the_weights_that_are_judged(tmp_path) -> None:
    trainer = run(tmp_path / "run", 2)
    rows = data().validation.inputs[:2]
    result = trainer.watch(rows, record="energy")
    torch.testing.assert_close(result.output, trainer.predict(rows))
    assert result.trace.energy is not None
    assert not result.output.requires_grad


def test_what_cannot_be_drawn_ends_no_run(tmp_path, monkeypatch, caplog) -> None:
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("energy_flow.cli.filmstrip.write_page", full)
    run(tmp_path / "run", 2)
    assert caplog.text.count("are not drawn: OSError: no space left") == 1  # though every epoch has looked


def test_a_frame_that_cannot_be_read_ends_no_run(tmp_path, caplog) -> None:
    folder = tmp_path / "run"
    run(folder, 1)
    (folder / "flows" / frames(folder)[0]).write_bytes(b"cut off")
    run(folder, 2, resume_from="auto")
    assert "are not drawn: SafetensorError" in caplog.text


def test_a_run_that_is_watched_is_the_same_to_the_bit(tmp_path) -> None:
    watched = run(tmp_path / "run", 2)
    config = watched.config
    alone = EnergyTrainer(create_processor(config), config, devices=CPU)
    alone.fit(data())
    for name, weight in alone.processor.state_dict().items():
        assert torch.equal(weight, watched.processor.state_dict()[name]), name
