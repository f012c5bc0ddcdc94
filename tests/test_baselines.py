"""What the lattice is compared with must be what its name says, or every comparison is worth nothing."""

from __future__ import annotations

import pytest
import torch

from benchmarks.learning.baselines import (
    ChunkGRU,
    ChunkTransformer,
    LatticeOff,
    ResidualMLP,
    closest,
    count_parameters,
    forward_flops,
    identity_linear,
    predict,
    procrustes,
    ridge,
    train,
)
from benchmarks.learning.scoreboard import Outcome, Row, interval, resampled, score
from benchmarks.learning.synthetic_tasks import CONFIG
from energy_flow.config import EnergyConfig
from energy_flow.core import create_processor
from energy_flow.data import TASKS, PairSet, make_task
from energy_flow.data.sources import data_settings
from energy_flow.training import EnergyTrainer

DATA = make_task("rotation", 1280, test_rows=200)
SETTINGS = EnergyConfig.from_dict(CONFIG | data_settings(DATA) | {"warmup_steps": 5})
BUILDERS = {
    "mlp": lambda hidden: ResidualMLP(64, 48, hidden),
    "gru": lambda hidden: ChunkGRU(64, 48, 16, hidden),
    "transformer": lambda hidden: ChunkTransformer(64, 48, 16, hidden),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_meet_their_budget_of_parameters(name: str) -> None:
    model = closest(BUILDERS[name], count_parameters, 55_000)
    assert count_parameters(model) == pytest.approx(55_000, rel=0.06)
    assert model(torch.randn(3, 64)).shape == (3, 48)


def test_networks_meet_their_budget_of_work() -> None:
    rows = torch.randn(4, 64)
    model = closest(BUILDERS["mlp"], lambda one: forward_flops(one, rows), 2e6)
    assert forward_flops(model, rows) == pytest.approx(2e6, rel=0.03)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2)
    assert forward_flops(model, rows) == 2 * matrices


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_every_chunk_can_reach_every_other(name: str) -> None:
    rows = torch.randn(1, 64, requires_grad=True)
    for place in (0, 47):
        (gradient,) = torch.autograd.grad(BUILDERS[name](32)(rows)[0, place], rows)
        assert bool((gradient.view(16, 4).abs().sum(1) > 0).all())


def test_closed_forms_find_a_rotation() -> None:
    wanted = DATA.test.targets[:]
    torch.testing.assert_close(procrustes(DATA.train, DATA.test.inputs[:]), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ridge(DATA.train, DATA.validation, DATA.test.inputs[:]), wanted, atol=1e-4, rtol=1e-4)


def test_ridge_takes_the_penalty_that_the_validation_split_likes() -> None:
    """Fewer rows than columns and much noise: least squares without a penalty would be worse than nothing."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(60, 5, generator=generator)

    def pairs(count: int) -> PairSet:
        inputs = torch.randn(count, 60, generator=generator)
        return PairSet(inputs, inputs @ weights + 20 * torch.randn(count, 5, generator=generator))

    few, validation, test = pairs(62), pairs(500), pairs(500)
    error = float((ridge(few, validation, test.inputs[:]) - test.targets[:]).square().mean())
    assert error < 1.2 * float(test.targets[:].square().mean())


def test_lattice_off_is_the_lattice_without_its_inside() -> None:
    """A fresh lattice passes its sites on as they are, so both give the same."""
    off, lattice = LatticeOff(SETTINGS), create_processor(SETTINGS)
    off.mapper.load_state_dict(lattice.mapper.state_dict())
    rows = torch.nn.functional.normalize(torch.randn(20, 64), dim=1)
    with torch.no_grad():
        assert float(torch.cosine_similarity(off(rows), lattice(rows)).min()) > 0.99


def test_baselines_train_as_the_trainer_does() -> None:
    """The same loop: a lattice trained by either ends with the same weights."""
    ours, theirs = create_processor(SETTINGS), create_processor(SETTINGS)
    train(ours, DATA.train, SETTINGS, 1)
    EnergyTrainer(theirs, SETTINGS).train(DATA.train.inputs[:], DATA.train.targets[:], 1)
    for (name, weight), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(weight, other, msg=name)


def test_a_linear_map_learns_a_rotation_in_the_loop() -> None:
    model = identity_linear(64, 64)
    before = TASKS["rotation"].metric(predict(model, DATA.test.inputs), DATA.test.targets[:])
    train(model, DATA.train, SETTINGS.replace(learning_rate=3e-2), 10)
    after = TASKS["rotation"].metric(predict(model, DATA.test.inputs), DATA.test.targets[:])
    assert before < 0
    assert after > 0.9


def test_intervals_are_of_the_same_rows_for_all_systems() -> None:
    generator = torch.Generator().manual_seed(1)
    lost = torch.rand(400, generator=generator).double()
    total = torch.ones(400).double()

    def row(name: str, losses: torch.Tensor) -> Row:
        return Row(name, 0.0, [Outcome(torch.stack((losses, total), dim=1), {}, 0.0, 0, 0.0, 0.0)])

    draws = resampled([row("one", lost), row("better by a tenth", lost - 0.1)])
    assert interval(draws["better by a tenth"] - draws["one"]) == "0.100 to 0.100"
    low, high = map(float, interval(draws["one"]).split(" to "))
    assert low < score(torch.stack((lost, total), dim=1)) < high
    assert high - low == pytest.approx(2 * 1.96 * float(lost.std()) / 20, rel=0.15)
