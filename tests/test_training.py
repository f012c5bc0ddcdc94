from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import create_processor
from energy_flow.data import PairData, PairSet, TextBank
from energy_flow.training import (
    EnergyTrainer,
    Judge,
    NonFiniteError,
    load_model,
    measure,
    save_model,
)
from energy_flow.training.losses import LOSSES, WHOLE_BATCH, total_loss
from energy_flow.training.optimizers import create_optimizer
from energy_flow.training.schedule import learning_rate_factor
from energy_flow.training.validation import Validation

SMALL = create_config(
    "tiny",
    input_embedding_dim=12,
    output_embedding_dim=8,
    lattice_width=4,
    lattice_height=4,
    lattice_depth=4,
    sites=(2, 2),
    energy_dim=4,
    max_active_flows=8,
    carrier_hidden_size=8,
    carrier_num_layers=1,
    batch_size=8,
    epochs=2,
    warmup_steps=2,
    learning_rate=1e-2,
    log_every=3,
    loss_cosine=1.0,
    loss_contrastive=0.5,
)


def pairs(count: int = 30, seed: int = 0) -> PairSet:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 12, generator=generator)
    return PairSet(inputs, inputs[:, :8] * 2)


def data() -> PairData:
    return PairData("small", pairs(30, 0), pairs(10, 1), pairs(10, 2))


class Seen:
    def __init__(self) -> None:
        self.records: list = []
        self.validations: list = []
        self.closed = 0

    def start(self, total_steps: int) -> None:
        self.total_steps = total_steps

    def observe(self, records) -> None:
        self.records += records

    def validate(self, record, examples) -> None:
        self.validations.append(record)
        self.examples = examples

    def close(self) -> None:
        self.closed += 1


def test_losses_have_their_closed_forms() -> None:
    outputs, targets = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 5.0]])
    assert float(LOSSES["mse"](outputs, targets, WHOLE_BATCH, SMALL)) == pytest.approx((9 + 1 + 9) / 4)
    assert float(LOSSES["cosine"](outputs, targets, WHOLE_BATCH, SMALL)) == pytest.approx(0.5)
    crossed = torch.eye(4)[[1, 0, 2, 3]]
    t = SMALL.contrastive_temperature
    right, wrong = math.log(1 + 3 * math.exp(-1 / t)), math.log(math.exp(1 / t) + 3)
    found = LOSSES["contrastive"](crossed, torch.eye(4), WHOLE_BATCH, SMALL)
    assert float(found) == pytest.approx((2 * right + 2 * wrong) / 4)
    config = SMALL.replace(loss_cross_entropy=1.0, target_classes=2)
    assert float(LOSSES["cross_entropy"](outputs, targets, WHOLE_BATCH, config)) == pytest.approx(
        (math.log(1 + math.exp(3)) + math.log(1 + math.exp(-2))) / 2
    )


def test_contrastive_loss_does_not_hold_equal_targets_against_each_other() -> None:
    targets = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    loss = LOSSES["contrastive"](targets, targets, WHOLE_BATCH, SMALL)
    assert float(loss) < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_the_parts_of_a_batch_add_up_to_the_batchs(name: str) -> None:
    outputs, targets = torch.randn(7, 8).double(), torch.randn(7, 8).double()
    targets[5] = 2 * targets[1]  # one target twice, in two parts
    config = SMALL.replace(target_classes=4)
    whole = LOSSES[name](outputs, targets, WHOLE_BATCH, config)
    parts = [(stop - start, slice(start, stop)) for start, stop in ((0, 3), (3, 4), (4, 7))]
    found = sum(count * LOSSES[name](outputs[rows], targets, rows, config) for count, rows in parts) / 7
    torch.testing.assert_close(found, whole)


def test_total_loss_weighs_its_terms() -> None:
    outputs, targets = torch.randn(6, 8), torch.randn(6, 8)
    total, terms = total_loss(outputs, targets, SMALL)
    assert set(terms) == {"cosine", "contrastive"}
    torch.testing.assert_close(total, terms["cosine"] + 0.5 * terms["contrastive"])


def test_learning_rate_warms_up_and_decays() -> None:
    config = SMALL.replace(warmup_steps=10, final_learning_rate_ratio=0.1)
    factors = [learning_rate_factor(step, 110, config) for step in range(110)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == 1.0
    assert factors[10] == 1.0
    assert factors[60] == pytest.approx(0.55)
    assert factors[-1] == pytest.approx(0.1, abs=0.01)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))


def test_only_matrices_decay_and_fixed_faces_stay() -> None:
    processor = create_processor(SMALL.replace(learn_faces=False, weight_decay=0.1))
    optimizer = create_optimizer(processor, processor.config)
    decayed, others = (group["params"] for group in optimizer.param_groups)
    assert {weight.dim() for weight in decayed} == {2}
    assert all(weight.dim() != 2 for weight in others)
    assert not any(weight is processor.mapper.input_weight for weight in decayed)


def test_training_learns() -> None:
    config = SMALL.replace(epochs=30)
    trainer = EnergyTrainer(create_processor(config), config)
    before = trainer.evaluate(pairs())
    result = trainer.train(pairs().inputs, pairs().targets)
    assert result.steps == 30 * 4
    assert trainer.evaluate(pairs()).cosine > before.cosine + 0.2
    assert result.epochs[-1].train_loss < 0.6 * result.epochs[0].train_loss
    assert result.best_epoch is None


def test_the_same_seed_trains_to_the_same_bits() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(len(states))  # the global generator must not matter
        trainer = EnergyTrainer(create_processor(SMALL), SMALL)
        trainer.fit(data())
        states.append(trainer.processor.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_figures_reach_the_observers_once_a_step() -> None:
    seen = Seen()
    EnergyTrainer(create_processor(SMALL), SMALL, observers=[seen]).fit(data())
    assert seen.total_steps == 8
    assert seen.closed == 1
    assert [record["step"] for record in seen.records] == list(range(1, 9))
    assert [record["epoch"] for record in seen.records] == [1] * 4 + [2] * 4
    plan = {
        "loss",
        "live",
        "mean_level",
        "arrived_share",
        "flow_steps_per_second",
        "memory_bytes",
        "loss_cosine",
        "gradient_norm",
    }
    assert all(plan <= set(record) for record in seen.records)
    assert all(math.isfinite(value) for record in seen.records for value in record.values())
    assert seen.records[0]["learning_rate"] == pytest.approx(0.5e-2)
    assert [record["epoch"] for record in seen.validations] == [1, 2]


def test_validation_examples_are_decoded_and_always_the_same_rows(tmp_path) -> None:
    seen, part = Seen(), pairs(10, 1)
    words, givens = [f"word {row}" for row in range(10)], [f"definition {row}" for row in range(10)]
    named = PairSet(part.inputs, part.targets, givens, words)
    texts = PairData("texts", pairs(30, 0), named, named, TextBank(words, part.targets))
    EnergyTrainer(create_processor(SMALL), SMALL, tmp_path, observers=[seen]).fit(texts)
    assert [example.given for example in seen.examples] == ["definition 0", "definition 3", "definition 6"]
    assert [example.wanted for example in seen.examples] == ["word 0", "word 3", "word 6"]
    assert all(len(set(example.found)) == 3 for example in seen.examples)
    validation = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()][-1]
    assert validation["examples"][1] == {
        "given": "definition 3",
        "wanted": "word 3",
        "found": list(seen.examples[1].found),
    }


def test_run_folder_holds_everything(tmp_path) -> None:
    folder = tmp_path / "run"
    trainer = EnergyTrainer(create_processor(SMALL), SMALL, folder)
    result = trainer.fit(data())
    assert EnergyConfig.load(folder / "config.json") == SMALL
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines].count("train") == 8
    assert [line["kind"] for line in lines].count("validation") == 2
    assert list((folder / "tensorboard").glob("events*"))
    last = load_model(folder / "last")
    inputs = pairs().inputs
    assert torch.equal(last(inputs), trainer.processor(inputs))
    best = EnergyTrainer(load_model(folder / "best"), SMALL)
    losses = [report.validation_loss for report in result.epochs]
    validation = data().validation
    loss, *_ = Validation(validation, None).judge([best.predict(validation.inputs)], SMALL)
    assert loss == pytest.approx(min(losses))


def test_run_folder_is_never_overwritten_unasked(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    (tmp_path / "metrics.jsonl").write_text("old")
    with pytest.raises(ValueError, match="exists and is not empty; give another, or --overwrite"):
        EnergyTrainer(create_processor(SMALL), SMALL, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"
    trainer = EnergyTrainer(create_processor(SMALL), SMALL, tmp_path, overwrite=True)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"  # opening removes nothing
    trainer.fit(data())
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert "old" not in (tmp_path / "metrics.jsonl").read_text()


def test_saved_and_loaded_gives_the_same_bits(tmp_path) -> None:
    processor = create_processor(SMALL)
    processor.mapper.calibrate(pairs().inputs, pairs().targets)
    save_model(processor, tmp_path)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded(pairs().inputs), processor(pairs().inputs))
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json"}


def test_broken_model_folders_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"model.safetensors: no such file"):
        load_model(tmp_path)
    save_model(create_processor(SMALL), tmp_path)
    SMALL.replace(carrier_hidden_size=9).save(tmp_path / "config.json")
    with pytest.raises(
        ValueError, match=r"carrier.child_offset has shape \(1, 2, 8\), its configuration wants \(1, 2, 9\)"
    ):
        load_model(tmp_path)
    SMALL.save(tmp_path / "config.json")
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_model(tmp_path)


def fingerprint(trainer: EnergyTrainer) -> list[float]:
    return [float(weight.detach().double().sum()) for weight in trainer.processor.parameters()]


def test_nonfinite_loss_names_step_rows_and_module_and_updates_nothing(monkeypatch) -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    trainer.train(pairs().inputs, pairs().targets, epochs=1)
    project = trainer.processor.neuron.project
    monkeypatch.setattr(project, "forward", lambda rows: torch.full((len(rows), 128), torch.nan))
    before = fingerprint(trainer)
    with pytest.raises(
        NonFiniteError,
        match=r"step 1: not finite first in the output of module neuron.project; nothing was updated. Rows .*: \d+, ",
    ):
        trainer.train(pairs().inputs, pairs().targets, epochs=1)
    assert fingerprint(trainer) == before


@pytest.mark.parametrize("name", ["carrier.gru.weight_hh_l0", "mapper.output_weight"])
def test_nonfinite_parameter_is_named(name: str) -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    with torch.no_grad():
        trainer.processor.get_parameter(name)[0, 0] = torch.inf
    with pytest.raises(NonFiniteError, match=f"not finite first in parameter {name}"):
        trainer.train(pairs().inputs, pairs().targets, epochs=1)


def test_nonfinite_gradient_is_named_and_updates_nothing() -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    trainer.processor.carrier.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    before = fingerprint(trainer)
    with pytest.raises(NonFiniteError, match="the gradient of carrier.norm.weight"):
        trainer.train(pairs().inputs, pairs().targets, epochs=1)
    assert fingerprint(trainer) == before


def test_observers_are_closed_when_training_fails() -> None:
    seen = Seen()
    trainer = EnergyTrainer(create_processor(SMALL), SMALL, observers=[seen])
    trainer.processor.carrier.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFiniteError):
        trainer.fit(data())
    assert seen.closed == 1


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (torch.randn(4, 11), torch.randn(4, 8), "training pairs: inputs has width 11, the model expects 12"),
        (torch.randn(4, 12), torch.randn(4, 9), "training pairs: targets has width 9, the model expects 8"),
        (torch.randn(4, 12), torch.randn(5, 8), "inputs has 4 rows and targets 5"),
        (
            torch.randn(4, 12).fill_(torch.nan),
            torch.randn(4, 8),
            "inputs has 4 rows with NaN or infinite numbers, first row 0",
        ),
        (
            torch.randn(4, 12),
            torch.randn(4, 8).index_fill(0, torch.tensor(2), torch.inf),
            "targets has 1 rows .*first row 2",
        ),
        (torch.randn(4, 12), torch.randn(4, 8).index_fill(0, torch.tensor(3), 0.0), "rows of zeros, first row 3"),
        (torch.randn(0, 12), torch.randn(0, 8), "holds nothing"),
        (torch.ones(4, 12, dtype=torch.int64), torch.randn(4, 8), "dtype torch.int64"),
        (torch.randn(4, 3, 4), torch.randn(4, 8), r"shape \(4, 3, 4\)"),
    ],
)
def test_bad_embeddings_are_named_before_any_work(inputs, targets, words: str) -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    with pytest.raises(ValueError, match=words):
        trainer.train(inputs, targets)


def test_zero_targets_are_fine_without_a_cosine() -> None:
    config = SMALL.replace(loss_cosine=0.0, loss_contrastive=0.0, loss_mse=1.0)
    targets = torch.randn(9, 8).index_fill(0, torch.tensor(3), 0.0)
    assert EnergyTrainer(create_processor(config), config).train(torch.randn(9, 12), targets, epochs=1).steps == 2


def test_processor_of_another_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="config differs"):
        EnergyTrainer(create_processor(SMALL), SMALL.replace(lattice_depth=5))


def test_calibration_measures_once_and_is_saved() -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    trainer.train(pairs().inputs * 3, pairs().targets, epochs=1)
    rms = float(trainer.processor.mapper.input_rms)
    assert rms == pytest.approx(float((pairs().inputs * 3).square().mean().sqrt()))
    trainer.train(pairs().inputs, pairs().targets, epochs=1)
    assert float(trainer.processor.state_dict()["mapper.input_rms"]) == rms
    with pytest.raises(ValueError, match="inputs holds only zeros"):
        trainer.processor.mapper.calibrate(torch.zeros(2, 12), torch.ones(2, 8))


def test_bfloat16_trains() -> None:
    config = SMALL.replace(precision="bfloat16", epochs=5)
    trainer = EnergyTrainer(create_processor(config), config)
    result = trainer.fit(data())
    assert trainer.devices.precision == "bfloat16"
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    assert all(weight.dtype == torch.float32 for weight in trainer.processor.parameters())


def test_metrics_have_their_closed_forms() -> None:
    outputs, targets = torch.tensor([[3.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    metrics = measure(outputs, PairSet(outputs, targets))
    assert metrics.mse == pytest.approx((9 + 1 + 1 + 1) / 4)
    assert metrics.cosine == pytest.approx((1 / 10**0.5 + 1 / 2**0.5) / 2)
    assert metrics.centred_cosine == pytest.approx(-(0.5**0.5))
    assert set(metrics.to_dict()) == {"mse", "cosine", "centred_cosine"}


def test_intervals_hold_the_figure_and_narrow_with_more_rows() -> None:
    generator = torch.Generator().manual_seed(0)

    def interval(count: int) -> tuple[float, float, float]:
        targets = torch.randn(count, 8, generator=generator)
        outputs = targets + torch.randn(count, 8, generator=generator)
        rows = PairSet(targets, targets)
        return measure(outputs, rows).cosine, *Judge().confidence_intervals(outputs, rows)["cosine"]

    few, many = interval(100), interval(1600)
    assert few[1] < few[0] < few[2]
    assert (many[2] - many[1]) / (few[2] - few[1]) == pytest.approx(1 / 4, rel=0.4)


def test_ranks_count_the_nearer_texts() -> None:
    bank = TextBank(["a", "b", "c"], torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]))
    outputs = torch.tensor([[2.0, 0.1], [0.0, 3.0], [0.0, 1.0]])
    rows = PairSet(outputs, outputs, target_texts=["a", "a", "b"])
    ranks = Judge(bank).ranks(outputs, rows)
    assert ranks is not None
    assert ranks.tolist() == [0, 2, 1]
    metrics = measure(outputs, rows, bank)
    assert (metrics.median_rank, metrics.acc_1, metrics.acc_10) == (1.0, pytest.approx(1 / 3), 1.0)
    assert metrics.rank_std == pytest.approx((2 / 3) ** 0.5)
    with pytest.raises(ValueError, match="target text 'z' is not in the bank"):
        Judge(bank).ranks(outputs, PairSet(outputs, outputs, target_texts=["a", "z", "b"]))
