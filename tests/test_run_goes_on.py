"""How a run goes on: from an older checkpoint, in another folder, for longer; and how one starts from weights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from energy_flow.core import create_processor
from energy_flow.data import PairData, PairSet
from energy_flow.training import Callback, EnergyTrainer, RunInUseError, load_model
from energy_flow.training.model_folder import load_initial_weights
from energy_flow.training.run.folder_lock import FolderLock

from .resume_worker import config, data
from .test_resume import CutAt, cut_run, metrics, outputs, train
from .test_run_folder import everything_in, names


@pytest.fixture(scope="module")
def uncut() -> torch.Tensor:
    return outputs(train(None))


def trainer_of(
    run: Path | None, resume_from=None, observers=(), parts=None, processor=None, **changes
) -> EnergyTrainer:
    settings = config(**{"checkpoint_every": 3} | changes)
    model = create_processor(settings) if processor is None else processor
    return EnergyTrainer(model, settings, run, observers=observers, resume_from=resume_from, **(parts or {}))


def test_going_on_from_an_older_checkpoint_sets_the_branch_aside(tmp_path, uncut) -> None:
    run = tmp_path / "run"
    cut_run(run, 10)
    branch = everything_in(run)
    trainer = EnergyTrainer.resume(run, run / "checkpoints" / "step-000000006")
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
    aside = run / "set-aside" / "001"
    assert sorted(path.name for path in (aside / "checkpoints").iterdir()) == ["step-000000008", "step-000000009"]
    for name in ("checkpoints/step-000000009/model.safetensors", "best/model.safetensors", "metrics.jsonl"):
        assert (aside / name).read_bytes() == branch[name], name
    assert [line["step"] for line in metrics(run) if line["kind"] == "train"] == list(range(1, 13))


def test_the_best_weights_come_back_with_an_older_checkpoint(tmp_path, monkeypatch) -> None:
    """The third epoch of the branch is the best; the checkpoint that is gone on with knows the first as the best."""
    from energy_flow.training import validation

    judge, losses = validation.Validation.judge, iter([1.0, 2.0, 0.5, 2.0])
    monkeypatch.setattr(
        validation.Validation, "judge", lambda self, *given: judge(self, *given)._replace(loss=next(losses))
    )
    run = tmp_path / "run"
    train(run, keep_checkpoints=9)
    first = load_file(run / "checkpoints" / "step-000000009" / "best.safetensors")
    result = EnergyTrainer.resume(run, run / "checkpoints" / "step-000000009").fit(data())
    assert result.best_epoch == 1
    found = load_file(run / "best" / "model.safetensors")
    assert all(torch.equal(found[name], first[name]) for name in first)


def test_a_run_forks_into_a_new_folder_and_leaves_the_first_alone(tmp_path, uncut) -> None:
    cut_run(tmp_path / "first", 10)
    before = everything_in(tmp_path / "first")
    checkpoint = tmp_path / "first" / "checkpoints" / "step-000000006"
    trainer = trainer_of(tmp_path / "second", checkpoint)
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
    assert everything_in(tmp_path / "first") == before
    assert names(tmp_path / "second")[-1] == "step-000000012"
    assert {"best", "last"} <= {path.name for path in (tmp_path / "second").iterdir()}
    with pytest.raises(ValueError, match="is another run's; give a new folder"):
        trainer_of(tmp_path / "second", checkpoint)


def test_a_fork_of_a_finished_run_has_its_weights(tmp_path) -> None:
    train(tmp_path / "first")
    trainer_of(tmp_path / "second", tmp_path / "first" / "checkpoints" / "step-000000012").fit(data())
    for name in ("best", "last"):
        weights = [(tmp_path / run / name / "model.safetensors").read_bytes() for run in ("first", "second")]
        assert weights[0] == weights[1], name


def test_what_is_no_checkpoint_is_named_for_what_it_is(tmp_path) -> None:
    train(tmp_path / "run")
    words = {
        "no/such": r"no/such: no such checkpoint; there are step-000000008, step-000000009, step-000000012 in ",
        "run": r"run is no checkpoint: give one of those there are, .*--run \S*run --resume auto",
        "run/checkpoints": r"checkpoints is no checkpoint: give one of those there are",
        "run/best": r"best holds weights alone, and no checkpoint; start from them with --init-from",
    }
    for path, found in words.items():
        for call in (
            lambda p=path: trainer_of(tmp_path / "run", tmp_path / p),
            lambda p=path: EnergyTrainer.resume(tmp_path / "run", tmp_path / p),
        ):
            with pytest.raises(ValueError, match=found):
                call()


# Parts that do not train


@pytest.mark.parametrize("part", ["carrier.heads.bias", "mapper.input_weight"])
def test_frozen_parts_stay_frozen(tmp_path, part: str) -> None:
    model = create_processor(config(checkpoint_every=3))
    model.get_parameter(part).requires_grad_(False)
    frozen = model.get_parameter(part).clone()
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], processor=model).fit(data())
    for trainer in (EnergyTrainer.resume(tmp_path / "run"), trainer_of(tmp_path / "run", "auto")):
        assert not trainer.processor.get_parameter(part).requires_grad
    trainer.fit(data())
    assert torch.equal(trainer.processor.get_parameter(part), frozen)


def test_what_the_run_trained_cannot_be_frozen_on_the_way(tmp_path) -> None:
    cut_run(tmp_path / "run")
    model = create_processor(config(checkpoint_every=3))
    model.get_parameter("carrier.heads.bias").requires_grad_(False)
    with pytest.raises(ValueError, match="carrier.heads.bias is frozen, and the run trained it; unfreeze it"):
        trainer_of(tmp_path / "run", "auto", processor=model)


def test_freeze_names_parts_and_stays_with_the_run(tmp_path) -> None:
    fields = {"freeze": ("mapper", "carrier.gru")}
    before = {name: weight.clone() for name, weight in create_processor(config()).named_parameters()}
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], **fields).fit(data())
    trainer = EnergyTrainer.resume(tmp_path / "run")
    trainer.fit(data())
    for name, weight in trainer.processor.named_parameters():
        frozen = name.startswith(("mapper.", "carrier.gru."))
        assert torch.equal(weight, before[name]) == frozen, name
    with pytest.raises(ValueError, match=r"freeze = 'carier': no part .*; the parts are neuron, carrier, mapper"):
        trainer_of(None, freeze=("carier",))
    with pytest.raises(ValueError, match="nothing is left to train"):
        trainer_of(None, freeze=("mapper", "neuron", "carrier"))


# Moments by name


def test_moments_are_found_by_the_names_of_their_parameters(tmp_path) -> None:
    cut_run(tmp_path / "run")
    moments = load_file(next((tmp_path / "run" / "checkpoints").glob("step-*")) / "optimizer.safetensors")
    assert "carrier.gru.weight_hh_l0.exp_avg" in moments
    assert moments["carrier.gru.weight_hh_l0.exp_avg"].shape == (24, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda moments: {**moments, "neuron.other.exp_avg": torch.zeros(1)}, "trained neuron.other, which does not"),
        (
            lambda moments: moments | {"carrier.norm.weight.exp_avg": torch.zeros(3)},
            r"has shape \(3,\), the parameter \(8,\)",
        ),
    ],
)
def test_moments_of_other_parameters_are_refused_by_name(tmp_path, monkeypatch, change, words: str) -> None:
    cut_run(tmp_path / "run")
    monkeypatch.setattr(
        "energy_flow.training.run.checkpoint_files.load_file",
        lambda path: change(load_file(path)) if path.name == "optimizer.safetensors" else load_file(path),
    )
    with pytest.raises(ValueError, match=words):
        trainer_of(tmp_path / "run", "auto")


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def absolute(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found - wanted).abs().mean()


def half(step: int, total: int) -> float:
    return 1.0 if step < total // 2 else 0.5


OWN = {"loss": absolute, "optimizer": sgd, "schedule": half}


def test_a_run_with_parts_of_the_users_goes_on_to_the_same_bits(tmp_path) -> None:
    whole = trainer_of(None, parts=OWN)
    whole.fit(data())
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], parts=OWN).fit(data())
    with pytest.raises(
        ValueError, match=r"started with other parts: loss = absolute, optimizer = SGD\(.*momentum=0.9.*, schedule"
    ):
        EnergyTrainer.resume(tmp_path / "run")
    trainer = EnergyTrainer.resume(tmp_path / "run", **OWN)
    trainer.fit(data())
    assert torch.equal(outputs(trainer), outputs(whole))


# For longer than planned


def test_more_epochs_are_trained_and_the_log_says_what_the_rate_does(tmp_path, caplog) -> None:
    train(tmp_path / "run")
    caplog.set_level("INFO", "energy_flow")
    result = trainer_of(tmp_path / "run", "auto", epochs=5).fit(data())
    assert (result.steps, len(result.epochs)) == (20, 5)
    assert re.search(
        r"5 epochs instead of 3: .* a run of 20 steps .* rate at step 13 is \S+ instead of 0.0005", caplog.text
    )
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run") if line["kind"] == "train"]
    assert rates[12] > 4 * rates[11]
    assert rates[-1] < rates[12]
    again = EnergyTrainer.resume(tmp_path / "run")
    assert again.fit(data()).steps == 20  # what was asked for last stays planned


def test_fewer_epochs_than_begun_are_refused(tmp_path) -> None:
    cut_run(tmp_path / "run", 10)
    with pytest.raises(ValueError, match="epochs = 1; the run that goes on is in epoch 3: give at least 3"):
        trainer_of(tmp_path / "run", "auto", epochs=1).fit(data())


# A new run from weights


def other_data() -> PairData:
    one = data()
    parts = [PairSet(part.inputs * 3, part.targets * 5) for part in (one.train, one.validation, one.test)]
    return PairData("other", *parts)


def test_a_new_run_starts_from_weights_on_other_data(tmp_path) -> None:
    train(tmp_path / "first")
    model = create_processor(config(freeze=("mapper",), learning_rate=1e-3))
    load_initial_weights(model, tmp_path / "first" / "best")
    trained = load_model(tmp_path / "first" / "best")
    assert torch.equal(model.carrier.gru.weight_hh_l0, trained.carrier.gru.weight_hh_l0)
    trainer = EnergyTrainer(model, model.config, tmp_path / "second")
    trainer.fit(other_data())
    assert torch.equal(trainer.processor.mapper.input_weight, trained.mapper.input_weight)
    assert not torch.equal(trainer.processor.carrier.gru.weight_hh_l0, trained.carrier.gru.weight_hh_l0)
    ratio = float(trainer.processor.mapper.input_rms / trained.mapper.input_rms)
    assert ratio == pytest.approx(3, rel=1e-5)
    with pytest.raises(ValueError, match=r"nowhere/model.safetensors: no such file; give a model folder"):
        load_initial_weights(model, Path("nowhere"))


def test_a_trained_model_is_tuned_with_other_fields_of_training(tmp_path) -> None:
    train(tmp_path / "first")
    for change in ({"learning_rate": 1e-5}, {"epochs": 1}, {"log_every": 1}, {"seed": 7}):
        trained = load_model(tmp_path / "first" / "best")
        trainer = EnergyTrainer(trained, trained.config.replace(**change), tmp_path / str(change))
        trainer.fit(data())
        saved = json.loads((tmp_path / str(change) / "last" / "config.json").read_text())
        assert saved[next(iter(change))] == next(iter(change.values()))
    with pytest.raises(ValueError, match=r"config differs from the processor's in energy_threshold = 0.2 .*has 0.1\)"):
        EnergyTrainer(trained, trained.config.replace(energy_threshold=0.2))


def test_numbered_moments_of_an_earlier_version_are_taken_by_their_order(tmp_path, uncut) -> None:
    """Format 3 numbered the parameters that trained, in the optimizer's order, and did not note what was frozen."""
    from energy_flow.training.run.checkpoint_store import find_damage

    cut_run(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / names(tmp_path / "run")[-1]
    as_version_0_1(checkpoint)
    assert find_damage(checkpoint) is None
    assert torch.equal(outputs(train(tmp_path / "run", "auto")), uncut)
    cut_run(tmp_path / "other")
    checkpoint = tmp_path / "other" / "checkpoints" / names(tmp_path / "other")[-1]
    as_version_0_1(checkpoint)
    model = create_processor(config(checkpoint_every=3))
    model.get_parameter("carrier.heads.bias").requires_grad_(False)
    with pytest.raises(ValueError, match=r"of version 0.1, has moments of \d+ parameters by their number"):
        trainer_of(tmp_path / "other", "auto", processor=model)


def as_version_0_1(checkpoint: Path) -> None:
    import hashlib

    model = create_processor(config(checkpoint_every=3))
    weights = dict(model.named_parameters())
    order = [name for name in weights if weights[name].dim() == 2] + [
        name for name in weights if weights[name].dim() != 2
    ]
    moments = load_file(checkpoint / "optimizer.safetensors")
    numbered = {
        f"{order.index(key.rpartition('.')[0])}.{key.rpartition('.')[2]}": value for key, value in moments.items()
    }
    save_file(numbered, checkpoint / "optimizer.safetensors")
    state = json.loads((checkpoint / "state.json").read_text())
    known = "total_steps data step epoch batch epoch_loss epoch_rows micro_batches ranks skipped budget reports"
    state = {name: state[name] for name in known.split()}
    state["reports"] = [{k: v for k, v in one.items() if k not in ("step", "own")} for one in state["reports"]]
    (checkpoint / "state.json").write_text(json.dumps(state))
    (checkpoint / "best.safetensors").unlink(missing_ok=True)
    settings = json.loads((checkpoint / "config.json").read_text())
    new = "data_seed ema_decay freeze patience validate_every"
    (checkpoint / "config.json").write_text(json.dumps({k: v for k, v in settings.items() if k not in new.split()}))
    manifest = json.loads((checkpoint / "manifest.json").read_text()) | {"format": 3}
    manifest["sha256"] = {
        name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
        for name in manifest["sha256"]
        if (checkpoint / name).exists()
    }
    text = json.dumps(manifest)
    (checkpoint / "manifest.json").write_text(text)
    (checkpoint / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")


# What a fresh pair of eyes broke


def test_a_fit_that_was_refused_begins_where_it_would_have(tmp_path, uncut) -> None:
    cut_run(tmp_path / "run")
    trainer = EnergyTrainer.resume(tmp_path / "run")
    lock = FolderLock(tmp_path / "run")
    lock.acquire()
    with pytest.raises(RunInUseError):
        trainer.fit(data())
    lock.release()
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
    assert not (tmp_path / "run" / "set-aside").exists()


def test_a_fork_that_failed_begins_with_its_checkpoint_again(tmp_path, uncut) -> None:
    cut_run(tmp_path / "first", 10)
    checkpoint = tmp_path / "first" / "checkpoints" / "step-000000006"
    trainer = trainer_of(tmp_path / "second", checkpoint, observers=[CutAt(8)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data())
    assert not (tmp_path / "second" / "checkpoints").exists()
    trainer._run._extra = ()
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)


def test_parts_frozen_on_the_way_do_not_stop_a_run_from_going_on(tmp_path) -> None:
    class Freezes(Callback):
        def after_step(self, trainer, step) -> None:
            if step == 5:
                trainer.processor.mapper.requires_grad_(False)

    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(10)], parts={"callbacks": [Freezes()]}).fit(data())
    trainer = EnergyTrainer.resume(tmp_path / "run")
    assert not trainer.processor.mapper.input_weight.requires_grad
    assert trainer.fit(data()).steps == 12


def test_parts_unfrozen_on_the_way_are_named(tmp_path) -> None:
    class Unfreezes(Callback):
        def after_step(self, trainer, step) -> None:
            trainer.processor.mapper.requires_grad_(True)

    with pytest.raises(ValueError, match="mapper.input_weight came to the model, or was unfrozen"):
        trainer_of(None, parts={"callbacks": [Unfreezes()]}, freeze=("mapper",)).fit(data())


def test_another_optimizer_in_the_middle_of_a_run_is_refused(tmp_path) -> None:
    cut_run(tmp_path / "run")
    trainer = EnergyTrainer.resume(tmp_path / "run")
    with pytest.raises(ValueError, match="goes on with the moments of its optimizer"):
        trainer.optimizer = sgd(trainer.processor)


def test_an_optimizer_with_other_options_is_refused(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], parts={"optimizer": sgd}).fit(data())
    other = {"optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.1)}
    with pytest.raises(ValueError, match="momentum=0.9.*give the same, not optimizer = .*momentum=0.1"):
        trainer_of(tmp_path / "run", "auto", parts=other)


def test_an_old_checkpoint_that_was_removed_meanwhile_is_no_other_run(tmp_path, uncut) -> None:
    cut_run(tmp_path / "run", 10)
    trainer = EnergyTrainer.resume(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / names(tmp_path / "run")[0])
    trainer.fit(data())
    assert torch.equal(outputs(trainer), uncut)
