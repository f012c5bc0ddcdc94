"""What training takes beside its defaults: loss, optimizer, schedule, callbacks, figures, averages, more looks."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from energy_flow.core import create_processor
from energy_flow.data import PairData, make_task
from energy_flow.training import Callback, EnergyTrainer, load_model
from energy_flow.training.averaged_weights import AveragedWeights
from energy_flow.training.losses import total_loss
from energy_flow.training.schedule import learning_rate_factor, warmup_steps

from .resume_worker import config, data
from .test_resume import CutAt, metrics, outputs
from .test_run_goes_on import trainer_of
from .test_training import Seen


def kept(folder) -> torch.Tensor:
    """What saved weights give."""
    model = load_model(folder)
    return outputs(EnergyTrainer(model, model.config))


# Parts of the user's


def test_an_own_loss_is_what_is_minimised_and_validated() -> None:
    seen, asked = Seen(), []

    def loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        asked.append(len(found))
        return (found - wanted).abs().sum(1).mean() * 7

    result = trainer_of(None, observers=[seen], parts={"loss": loss}, accumulation=2).fit(data())
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    assert seen.records[0]["loss"] > 7
    assert "loss_cosine" not in seen.records[0]
    assert result.epochs[0].validation_loss > 7
    assert asked[:2] == [4, 4]  # micro-batches get their own targets
    with pytest.raises(ValueError, match="loss gave Tensor .*give a scalar tensor"):
        trainer_of(None, parts={"loss": lambda found, wanted: (found - wanted).abs()}).fit(data())


def test_an_own_loss_takes_targets_without_a_direction() -> None:
    rows = data().train
    loss = {"loss": lambda found, wanted: (found - wanted).square().mean()}
    assert (
        trainer_of(None, parts=loss)
        .train(rows.inputs, torch.eye(8).repeat(4, 1)[:30] * torch.arange(30)[:, None].clamp(max=1))
        .steps
        == 12
    )


def test_a_schedule_multiplies_the_rate_of_every_group() -> None:
    def two_rates(model: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": model.mapper.parameters(), "lr": 0.1}, {"params": model.carrier.parameters()}]
        return torch.optim.SGD(groups, lr=0.01)

    seen, rates = Seen(), []

    class Notes(Callback):
        def after_step(self, trainer, step) -> None:
            rates.append([group["lr"] for group in trainer.optimizer.param_groups])

    model = create_processor(config(freeze=("neuron",)))
    trainer = EnergyTrainer(
        model,
        model.config,
        observers=[seen],
        optimizer=two_rates,
        schedule=lambda step, total: (step + 1) / total,
        callbacks=[Notes()],
    )
    trainer.fit(data())
    assert rates[0] == pytest.approx([0.1 / 12, 0.01 / 12])
    assert rates[-1] == pytest.approx([0.1, 0.01])


def test_another_optimizer_may_be_assigned_and_a_strangers_is_refused() -> None:
    trainer = trainer_of(None)
    trainer.optimizer = torch.optim.SGD(trainer.processor.parameters(), lr=0.0)
    before = [weight.clone() for weight in trainer.processor.parameters()]
    trainer.fit(data())
    assert all(torch.equal(one, other) for one, other in zip(before, trainer.processor.parameters(), strict=True))
    with pytest.raises(ValueError, match="holds parameters that are not this model's"):
        trainer.optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer is LBFGS"):
        trainer.optimizer = torch.optim.LBFGS(trainer.processor.parameters())
    with pytest.raises(ValueError, match="optimizer is a int; give a torch.optim.Optimizer"):
        trainer.optimizer = 3  # type: ignore[assignment]


class StopsAt(Callback):
    def __init__(self, step: int = 0, look: int = 0) -> None:
        self.step, self.look, self.seen = step, look, []

    def before_training(self, trainer) -> None:
        self.seen.append(("before", 0))

    def after_step(self, trainer, step) -> str | None:
        self.seen.append(("step", step))
        return "enough steps" if step == self.step else None

    def after_validation(self, trainer, report) -> str | None:
        self.seen.append(("look", report.step))
        return "enough looks" if len([kind for kind, _ in self.seen if kind == "look"]) == self.look else None


@pytest.mark.parametrize(("stop", "step", "why"), [({"step": 6}, 6, "enough steps"), ({"look": 2}, 8, "enough looks")])
def test_a_callback_ends_the_run_as_one_that_is_finished(tmp_path, stop, step: int, why: str) -> None:
    result = trainer_of(tmp_path / "run", parts={"callbacks": [StopsAt(**stop)]}).fit(data())
    assert (result.steps, result.ended, result.epochs[-1].step) == (step, why, step)
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:09d}").is_dir()
    again = trainer_of(tmp_path / "run", "auto").fit(data())
    assert (again.steps, again.ended) == (step, why)


def test_a_callback_that_fails_ends_the_run_with_its_error() -> None:
    class Fails(Callback):
        def after_step(self, trainer, step) -> None:
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        trainer_of(None, parts={"callbacks": [Fails()]}).fit(data())


def test_callbacks_are_called_in_the_order_of_the_run() -> None:
    callback = StopsAt()
    trainer_of(None, parts={"callbacks": [callback]}).fit(data())
    looks = [place for place, (kind, _) in enumerate(callback.seen) if kind == "look"]
    assert callback.seen[0] == ("before", 0)
    assert [callback.seen[place - 1] for place in looks] == [("step", 4), ("step", 8), ("step", 12)]


# The best weights


def fixed_losses(monkeypatch, losses) -> None:
    from energy_flow.training import validation

    judge, coming = validation.Validation.judge, iter(losses)
    monkeypatch.setattr(
        validation.Validation, "judge", lambda self, *given: judge(self, *given)._replace(loss=next(coming))
    )


def test_patience_ends_a_run_and_more_patience_goes_on(tmp_path, monkeypatch) -> None:
    fixed_losses(monkeypatch, [1.0, 0.5, 0.6, 0.7, 0.8, 0.9])
    result = trainer_of(tmp_path / "run", epochs=6, patience=2).fit(data())
    assert (result.steps, result.best_epoch) == (16, 2)
    assert result.ended == "no better loss in 2 looks at the validation set"
    assert trainer_of(tmp_path / "run", "auto", epochs=6, patience=2).fit(data()).steps == 16
    assert trainer_of(tmp_path / "run", "auto", epochs=6, patience=3).fit(data()).steps == 20


def test_the_best_weights_are_chosen_by_any_figure() -> None:
    small = {"input_embedding_dim": 64, "output_embedding_dim": 64, "energy_dim": 16}
    task = make_task("rotation", 32, 16)
    for by in ("R2", "train_loss", "mse"):
        result = trainer_of(None, best_by=by, **small).fit(task)
        values = [report.figures()[by] for report in result.epochs]
        assert result.best_epoch == 1 + values.index(max(values) if by == "R2" else min(values)), by
    own = {"figures": {"least": lambda found, wanted: float(found.min())}}
    result = trainer_of(None, parts=own, best_by="least").fit(data())
    values = [report.own["least"] for report in result.epochs]
    assert result.best_epoch == 1 + values.index(max(values))


def test_a_figure_that_there_will_not_be_is_named_before_training(tmp_path) -> None:
    without_texts = PairData("plain", *(getattr(data(), name) for name in ("train", "validation", "test")))
    for by in ("acc_1", "f1"):
        with pytest.raises(
            ValueError, match=f"best_by = '{by}'; this validation set gives loss, train_loss, mse, cosine"
        ):
            trainer_of(tmp_path / "run", best_by=by).fit(without_texts)
    assert not (tmp_path / "run").exists()


# More looks at the validation set


def test_the_validation_set_is_looked_at_every_so_many_steps(tmp_path) -> None:
    result = trainer_of(tmp_path / "run", validate_every=3).fit(data())
    assert [(report.step, report.epoch) for report in result.epochs] == [
        (3, 1),
        (4, 1),
        (6, 2),
        (8, 2),
        (9, 3),
        (12, 3),
    ]
    lines = [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "validation"]
    assert lines == [3, 4, 6, 8, 9, 12]
    plain = trainer_of(None)
    plain.fit(data())
    assert torch.equal(outputs(plain), kept(tmp_path / "run" / "last"))


class CutInLook(CutAt):
    def observe(self, records) -> None:
        pass

    def validate(self, record, examples) -> None:
        if record["step"] == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (6, 8, 12))])
def test_a_run_that_is_cut_in_a_look_looks_again(tmp_path, step: int) -> None:
    fields = {"validate_every": 3, "checkpoint_every": 5}
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutInLook(step)], **fields).fit(data())
    result = trainer_of(tmp_path / "run", "auto", **fields).fit(data())
    assert [report.step for report in result.epochs] == [3, 4, 6, 8, 9, 12]
    lines = [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "validation"]
    assert lines == [3, 4, 6, 8, 9, 12]


# The averaged weights


def test_the_average_has_its_closed_form_and_constants_are_their_own() -> None:
    model, decay, history = nn.Linear(3, 2).double(), 0.9, []
    constant = model.bias.detach().clone()
    average = AveragedWeights(model, decay)
    for step in range(1, 8):
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        history.append(model.weight.detach().clone())
        average.update()
        shares = [(1 - decay) * decay ** (step - 1 - number) / (1 - decay**step) for number in range(step)]
        wanted = sum(share * weight for share, weight in zip(shares, history, strict=True))
        torch.testing.assert_close(average.state_dict()["weight"], wanted, rtol=1e-12, atol=1e-12)
        assert torch.equal(average.state_dict()["bias"], constant)
    own = model.weight.detach().clone()
    with average.applied():
        assert torch.equal(model.weight, average.state_dict()["weight"])
    assert torch.equal(model.weight, own)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_of_a_weight_that_stays_is_that_weight_to_the_bit(decay: float) -> None:
    model = nn.Linear(50, 50)
    before, average = model.weight.detach().clone(), AveragedWeights(model, decay)
    for _ in range(200):
        average.update()
    assert torch.equal(average.state_dict()["weight"], before)


def test_averaged_weights_are_judged_saved_and_resumed_to_the_bit(tmp_path) -> None:
    fields = {"ema_decay": 0.8}
    seen = Seen()
    whole = trainer_of(tmp_path / "whole", observers=[seen], **fields)
    whole.fit(data())
    plain = trainer_of(None)
    plain.fit(data())
    for one, other in zip(whole.processor.parameters(), plain.processor.parameters(), strict=True):
        assert torch.equal(one, other)  # the average watches and changes nothing
    assert not torch.equal(outputs(whole), outputs(plain))
    last = load_model(tmp_path / "whole" / "last")
    assert torch.equal(kept(tmp_path / "whole" / "last"), outputs(whole))
    judged = EnergyTrainer(last, last.config).evaluate(data().validation, data().bank)
    assert seen.validations[-1]["cosine"] == pytest.approx(judged.cosine, rel=1e-6)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], **fields).fit(data())
    trainer = EnergyTrainer.resume(tmp_path / "run")
    trainer.fit(data())
    for name in ("best", "last"):
        files = [(tmp_path / run / name / "model.safetensors").read_bytes() for run in ("whole", "run")]
        assert files[0] == files[1], name
    files = [
        (tmp_path / run / "checkpoints/step-000000012/averaged.safetensors").read_bytes() for run in ("whole", "run")
    ]
    assert files[0] == files[1]


def test_frozen_parts_and_buffers_are_not_averaged() -> None:
    trainer = trainer_of(None, ema_decay=0.5, freeze=("mapper",))
    trainer.fit(data())
    assert not any(name.startswith("mapper") for name in trainer._learner.average.state_dict())
    assert float(trainer.processor.mapper.calibrated) == 1.0


# The warm-up


def test_the_warm_up_is_a_tenth_of_a_short_run_unless_it_is_said() -> None:
    default, said = config(warmup_steps=None), config(warmup_steps=40)
    assert [warmup_steps(total, default) for total in (5, 12, 375, 2000, 10**6)] == [0, 1, 37, 100, 100]
    assert warmup_steps(12, said) == 40
    assert learning_rate_factor(0, 12, default) == 1.0
    factors = [learning_rate_factor(step, 40, default) for step in range(40)]
    assert max(factors) == 1.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[4:]))


# What a fresh pair of eyes broke


def test_a_figure_that_is_no_number_is_never_the_best(monkeypatch) -> None:
    fixed_losses(monkeypatch, [float("nan"), 2.0, 3.0])
    result = trainer_of(None, patience=2).fit(data())
    assert (result.best_epoch, result.ended) == (2, "")


@pytest.mark.parametrize("name", ["loss", "step", "cosine", "epoch"])
def test_a_figure_of_the_users_takes_no_name_that_is_there(name: str) -> None:
    with pytest.raises(ValueError, match=f"figures has '{name}', which every record has"):
        trainer_of(None, parts={"figures": {name: lambda found, wanted: 1.0}}).fit(data())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"loss": "mse"}, r"loss is a str, which cannot be called; give a function \(outputs, targets\)"),
        ({"loss": nn.Linear(8, 8)}, "loss has parameters, which are neither trained nor saved"),
        ({"schedule": 0.5}, "schedule is a float, which cannot be called"),
        ({"optimizer": torch.optim.AdamW}, r"optimizer is the class; give lambda model: AdamW\(model.parameters\(\)"),
        ({"optimizer": lambda model: torch.optim.SGD(model.carrier.parameters(), lr=1)}, "does not hold neuron"),
        ({"callbacks": [print]}, "give objects of classes that derive from Callback"),
        ({"callbacks": [StopsAt]}, "give objects of classes that derive from Callback"),
    ],
)
def test_parts_that_cannot_work_are_named_at_once(parts, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainer_of(None, parts=parts)


def test_a_schedule_of_torch_and_one_that_is_no_number_are_named() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)
    with pytest.raises(ValueError, match="schedule is a StepLR, which cannot be called"):
        trainer_of(None, parts={"schedule": torch.optim.lr_scheduler.StepLR(optimizer, 1)})
    trainer = trainer_of(None, parts={"schedule": lambda step, total: float("nan")})
    before = [weight.clone() for weight in trainer.processor.parameters()]
    with pytest.raises(ValueError, match="the schedule gave nan; give a finite share of the peak rate"):
        trainer.fit(data())
    assert all(torch.equal(one, other) for one, other in zip(before, trainer.processor.parameters(), strict=True))


def test_a_callback_says_a_text_or_nothing() -> None:
    class SaysTrue(Callback):
        def after_step(self, trainer, step):
            return True

    with pytest.raises(ValueError, match=r"callbacks said \[True\]; each returns a text"):
        trainer_of(None, parts={"callbacks": [SaysTrue()]}).fit(data())


class Counts(torch.optim.SGD):
    """Counts its steps in its groups, as schedule-free optimizers do."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.data.add_(weight.grad, alpha=-group["lr"] / group["k"])


class KeepsAList(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        self.state[self.param_groups[0]["params"][0]]["history"] = []


def test_what_an_optimizer_counts_in_its_groups_comes_back(tmp_path) -> None:
    own = {"optimizer": lambda model: Counts(model.parameters(), lr=0.05)}
    whole = trainer_of(None, parts=own)
    whole.fit(data())
    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "run", observers=[CutAt(8)], parts=own).fit(data())
    trainer = EnergyTrainer.resume(tmp_path / "run", **own)
    trainer.fit(data())
    assert torch.equal(outputs(trainer), outputs(whole))


def test_what_no_checkpoint_can_hold_is_named_after_the_first_step(tmp_path) -> None:
    trainer = trainer_of(tmp_path / "run", parts={"optimizer": lambda model: KeepsAList(model.parameters(), lr=0.1)})
    with pytest.raises(ValueError, match="the optimizer keeps a list as .*history; a checkpoint holds tensors"):
        trainer.fit(data())
    assert trainer._state is None and not (tmp_path / "run" / "checkpoints").exists()


def test_a_second_run_of_a_trainer_starts_with_moments_of_its_own() -> None:
    trainer = trainer_of(None)
    trainer.fit(data())
    trainer.fit(data())
    assert float(next(iter(trainer.optimizer.state.values()))["step"]) == 12


def test_what_a_trainer_was_built_with_stays(tmp_path) -> None:
    trainer = trainer_of(None)
    for name in ("processor", "config", "devices"):
        with pytest.raises(AttributeError):
            setattr(trainer, name, getattr(trainer, name))
    rows = data().train
    with pytest.raises(ValueError, match="patience needs a validation set"):
        trainer_of(None, patience=2).train(rows.inputs, rows.targets)


def test_averaged_weights_are_judged_by_threads_in_turns_and_graphs_stay_good(tmp_path) -> None:
    own = config().replace(ema_decay=0.9)
    trainer = EnergyTrainer(create_processor(own), own)
    rows, targets = torch.randn(40, own.input_embedding_dim), torch.randn(40, own.output_embedding_dim)
    trainer.train(rows, targets, epochs=2)
    before = {name: weight.clone() for name, weight in trainer.processor.state_dict().items()}
    graph = trainer.processor(rows).sum()
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: trainer.predict(rows), range(16))
    assert all(torch.equal(first, other) for other in others)
    assert all(torch.equal(before[name], weight) for name, weight in trainer.processor.state_dict().items())
    graph.backward()


@pytest.mark.parametrize("scale", [1e-12, 1e20])
def test_losses_of_directions_do_not_depend_on_the_length(scale: float) -> None:
    outputs, targets = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5)
    own = config().replace(loss_cosine=1.0, loss_contrastive=1.0, loss_mse=0.0)
    plain = total_loss(outputs, targets, own)[0]
    torch.testing.assert_close(total_loss(outputs * scale, targets * scale, own)[0], plain)
    assert torch.autograd.grad(total_loss(outputs * scale, targets, own)[0], outputs)[0].isfinite().all()
    exact = total_loss(outputs, targets, own)[0]
    assert torch.equal(exact, plain)


@pytest.mark.parametrize("epochs", [0, 1.5, True, "2"])
def test_epochs_are_a_whole_number(epochs) -> None:
    trainer = EnergyTrainer(create_processor(config()), config())
    rows, targets = torch.randn(8, config().input_embedding_dim), torch.randn(8, config().output_embedding_dim)
    with pytest.raises(ValueError, match="epochs = .*; give a whole number of at least 1"):
        trainer.train(rows, targets, epochs=epochs)


def test_a_masked_array_is_refused() -> None:
    trainer = EnergyTrainer(create_processor(config()), config())
    rows = np.ma.array(np.ones((2, config().input_embedding_dim)), mask=False)
    with pytest.raises(ValueError, match="inputs is a masked array"):
        trainer.predict(rows)
