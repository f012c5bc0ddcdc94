"""Numbers that cannot be trusted update nothing, micro-batches add up to the batch, and scarce memory loses no step."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

from energy_flow.core import create_processor
from energy_flow.training import EnergyTrainer, NonFiniteError
from energy_flow.utils.determinism import deterministic_algorithms

from .resume_worker import config, data


class Records:
    """Keeps every record."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records) -> None:
        self.steps += records

    def validate(self, record, examples) -> None:
        pass

    def close(self) -> None:
        pass


def trainer_of(run=None, **changes) -> tuple[EnergyTrainer, Records]:
    settings, seen = config(**{"log_every": 1} | changes), Records()
    return EnergyTrainer(create_processor(settings), settings, run, observers=[seen]), seen


def parameters_of(trainer: EnergyTrainer) -> str:
    state = b"".join(weight.detach().numpy().tobytes() for weight in trainer.processor.parameters())
    return hashlib.sha256(state).hexdigest()


def break_loss(trainer: EnergyTrainer, at: int, monkeypatch) -> None:
    """A loss that is NaN in one forward pass of training."""
    break_run(trainer, at, monkeypatch, lambda result: result._replace(output=result.output * torch.nan))


def break_flow(trainer: EnergyTrainer, at: int, monkeypatch) -> None:
    """The energy of one flow of one pass is NaN."""
    launch, passes = trainer.processor.launch, [0]

    def launched(embeddings):
        flows = launch(embeddings)
        passes[0] += trainer.processor.training
        if passes[0] != at or not trainer.processor.training:
            return flows
        energy = flows.energy.clone()
        energy[1, 2] = torch.nan
        return flows._replace(energy=energy)

    monkeypatch.setattr(trainer.processor, "launch", launched)


def break_gradient(trainer: EnergyTrainer, at: int, monkeypatch) -> None:
    """One number of one gradient is infinite in one pass."""
    passes = [0]

    def hook(gradient):
        passes[0] += 1
        return gradient if passes[0] != at else gradient.index_fill(0, torch.tensor(0), torch.inf)

    trainer.processor.carrier.norm.weight.register_hook(hook)


def break_run(trainer: EnergyTrainer, at: int, monkeypatch, change) -> None:
    run, passes = trainer.processor.run, [0]

    def changed(embeddings, **options):
        result = run(embeddings, **options)
        passes[0] += trainer.processor.training
        return change(result) if passes[0] == at and trainer.processor.training else result

    monkeypatch.setattr(trainer.processor, "run", changed)


BREAKS = {"loss": break_loss, "gradient": break_gradient, "flow": break_flow}


@pytest.mark.parametrize("where", BREAKS)
def test_a_number_that_is_not_finite_updates_nothing_and_its_batch_is_kept(tmp_path, monkeypatch, where: str) -> None:
    trainer, seen = trainer_of(tmp_path / "run")
    BREAKS[where](trainer, 3, monkeypatch)
    before: list[str] = []
    step = trainer.optimizer.step
    monkeypatch.setattr(trainer.optimizer, "step", lambda: (step(), before.append(parameters_of(trainer))))
    with pytest.raises(NonFiniteError, match="step 3: not finite first in .*; nothing was updated"):
        trainer.fit(data())
    assert len(before) == len(seen.steps) == 2
    assert parameters_of(trainer) == before[-1]
    folder = tmp_path / "run" / "nonfinite"
    report = json.loads((folder / "step-000000003.json").read_text())
    batch = load_file(folder / "step-000000003.safetensors")
    assert batch["rows"].tolist() == report["rows"]
    assert torch.equal(batch["inputs"], data().train.inputs[batch["rows"]])
    assert torch.equal(batch["targets"], data().train.targets[batch["rows"]])
    assert report["first"]


@pytest.mark.parametrize("where", BREAKS)
def test_a_batch_can_be_left_out(tmp_path, monkeypatch, caplog, where: str) -> None:
    trainer, seen = trainer_of(tmp_path / "run", nonfinite="skip")
    BREAKS[where](trainer, 3, monkeypatch)
    result = trainer.fit(data())
    assert result.steps == 12
    assert [record["step"] for record in seen.steps] == [1, 2, *range(4, 13)]
    rows = [record["rows"] for record in seen.steps[:3]]
    losses = [record["loss"] for record in seen.steps[:3]]
    mean = sum(loss * count for loss, count in zip(losses, rows, strict=True)) / sum(rows)
    assert result.epochs[0].train_loss == pytest.approx(mean)
    assert "Left out: 1 of 10" in caplog.text


def test_too_many_batches_left_out_stop_the_run(monkeypatch) -> None:
    trainer, seen = trainer_of(nonfinite="skip", nonfinite_budget=2)
    break_run(trainer, 0, monkeypatch, lambda result: result)
    trainer.processor.carrier.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFiniteError, match="step 3"):
        trainer.fit(data())
    assert not seen.steps


def test_autograd_names_the_operation_when_asked(monkeypatch) -> None:
    trainer, _ = trainer_of(detect_anomaly=True)
    roots = lambda result: result._replace(output=result.output + (0 * result.output).sqrt() * 0)  # noqa: E731
    break_run(trainer, 2, monkeypatch, roots)
    with pytest.raises(NonFiniteError, match="step 2: .*'SqrtBackward0' returned nan values"):
        trainer.fit(data())
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("micro_batches", [2, 3, 8])
def test_micro_batches_add_up_to_the_batch(micro_batches: int) -> None:
    whole, seen = trainer_of(loss_contrastive=0.5)
    parts, seen_in_parts = trainer_of(loss_contrastive=0.5, accumulation=micro_batches)
    for trainer in (whole, parts):
        trainer.processor.double()
    rows = data().train
    for trainer in (whole, parts):
        trainer.train(rows.inputs.double(), rows.targets.double(), epochs=2)
    for weight, other in zip(whole.processor.parameters(), parts.processor.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-9, atol=1e-11)
    timed = ("flow_steps_per_second", "step_seconds", "memory_bytes")
    for record, other in zip(seen.steps, seen_in_parts.steps, strict=True):
        for name in record.keys() - set(timed):
            assert record[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), name


def run_out_of_memory(trainer: EnergyTrainer, rows: int, monkeypatch) -> None:
    run = trainer.processor.run

    def limited(embeddings, **options):
        if trainer.processor.training and len(embeddings) > rows:
            raise torch.OutOfMemoryError("out of memory")
        return run(embeddings, **options)

    monkeypatch.setattr(trainer.processor, "run", limited)


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_step(tmp_path, monkeypatch, caplog) -> None:
    large, seen = trainer_of()
    run_out_of_memory(large, 3, monkeypatch)
    result = large.fit(data())
    small, _ = trainer_of(accumulation=4)
    small.fit(data())
    assert (result.steps, len(seen.steps)) == (12, 12)
    assert torch.equal(large.predict(data().test.inputs), small.predict(data().test.inputs))
    assert "out of memory: activations are computed again in the backward pass from now on" in caplog.text
    assert large.processor.execution.checkpointed
    assert "out of memory: 4 micro-batches from now on, the batch stays" in caplog.text


def test_what_is_kept_stays_kept_where_it_was_asked_for(monkeypatch, caplog) -> None:
    trainer, _ = trainer_of(checkpointing="off")
    run_out_of_memory(trainer, 4, monkeypatch)
    trainer.fit(data())
    assert not trainer.processor.execution.checkpointed
    assert "out of memory: 2 micro-batches" in caplog.text
    assert "computed again" not in caplog.text


def test_a_single_row_that_does_not_fit_is_an_error(monkeypatch) -> None:
    trainer, _ = trainer_of()
    run_out_of_memory(trainer, 0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.fit(data())


def test_gradient_norms_of_the_parts_make_the_whole() -> None:
    trainer, seen = trainer_of()
    trainer.fit(data())
    for record in seen.steps:
        parts = [record[f"gradient_norm_{name}"] ** 2 for name in ("mapper", "neuron", "carrier")]
        assert sum(parts) ** 0.5 == pytest.approx(record["gradient_norm"], rel=1e-5)


def test_deterministic_holds_for_the_run_and_refuses_what_it_cannot_keep(monkeypatch) -> None:
    trainer, _ = trainer_of(deterministic=True)
    inside: list[bool] = []
    run = trainer.processor.run

    def watched(embeddings, **options):
        inside.append(torch.are_deterministic_algorithms_enabled())
        return run(embeddings, **options)

    monkeypatch.setattr(trainer.processor, "run", watched)
    trainer.fit(data())
    assert all(inside)
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for device, words in (("cuda", "set CUBLAS_WORKSPACE_CONFIG=:4096:8"), ("mps", "mps makes no such promise")):
        with pytest.raises(ValueError, match=words), deterministic_algorithms(torch.device(device)):
            pass


def test_a_number_that_is_not_finite_in_bfloat16_alone_is_named_by_its_module() -> None:
    trainer, _ = trainer_of(precision="bfloat16")
    half = torch.bfloat16
    trainer.processor.neuron.project.register_forward_hook(
        lambda module, given, output: output * torch.inf if output.dtype == half else output
    )
    with pytest.raises(NonFiniteError, match="not finite first in the output of module neuron.project"):
        trainer.fit(data())
