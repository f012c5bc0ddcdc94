"""What the lattice is compared with must be what its name says, or every comparison is worth nothing."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.learning.board.systems import NETWORKS
from benchmarks.learning.matching import closest, count_parameters, forward_flops, of_flops, of_parameters
from benchmarks.learning.rivals import (
    ConvGRU,
    Course,
    InFaces,
    LatticeOff,
    Looped,
    LoopedTransformer,
    OverCells,
    ResidualMLP,
    Transformer,
    WindowRidge,
    identity_linear,
    procrustes,
    ridge,
)
from benchmarks.learning.rivals.attention_block import AttentionBlock, widths_of
from benchmarks.learning.rivals.rotary import angles_of, places_of, turned
from benchmarks.learning.rivals.windows import windows
from benchmarks.learning.synthetic_tasks import CONFIG
from energy_flow.config import EnergyConfig
from energy_flow.core import Prelude, create_processor
from energy_flow.core.embedding_mapper import EmbeddingMapper
from energy_flow.data import PairSet, make_task
from energy_flow.data.sources import data_settings

CELL_IN, CELL_OUT, FACE = 6, 2, (5, 4)
DATA = make_task("rotation", 1280, test_rows=200)
SETTINGS = EnergyConfig.from_dict(CONFIG | data_settings(DATA) | {"warmup_steps": 5})
LOOPS = {"looped Transformer": LoopedTransformer, "convolutional GRU": ConvGRU}


def cells(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, FACE[0] * FACE[1], CELL_IN, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("parameters", [11_729, 40_434, 57_000, 540_000])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_meet_their_budget_of_parameters(name: str, parameters: int) -> None:
    model = of_parameters(partial(NETWORKS[name], CELL_IN, CELL_OUT), parameters)
    assert count_parameters(model) == pytest.approx(parameters, rel=0.05)
    assert model(cells(3), Course(FACE))[-1].shape == (3, 20, CELL_OUT)


def test_networks_meet_their_budget_of_work() -> None:
    rows = torch.randn(4, 64)
    model = of_flops(lambda hidden: ResidualMLP(64, 48, hidden), 2e6, rows.shape)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2)
    assert forward_flops(model, rows) == 2 * matrices == pytest.approx(2e6, rel=0.03)


def test_the_work_of_attention_is_counted() -> None:
    """Beside the matrices, for each of 20 cells: 20 products of queries and keys, and as many of weights and values."""
    widths = widths_of(32)
    block, inputs = AttentionBlock(widths), torch.randn(3, 20, widths.width)
    matrices = sum(weight.numel() for weight in block.parameters() if weight.dim() == 2)
    angles = angles_of(places_of(FACE), widths.width // 4)
    assert forward_flops(block, inputs, angles) == 20 * (2 * matrices + 2 * 2 * 20 * widths.width)


@pytest.mark.parametrize("budget", [1, 5, 17, 1000])
def test_the_closest_width_is_found(budget: int) -> None:
    model = closest(lambda width: nn.Linear(width, 3, bias=False), count_parameters, budget)
    assert abs(count_parameters(model) - budget) <= 2


@pytest.mark.parametrize("size", [4, 12, 17, 39, 40, 41, 64, 71, 96])
def test_a_layer_of_attention_has_the_weights_of_its_size(size: int) -> None:
    block = AttentionBlock(widths_of(size))
    matrices = sum(weight.numel() for weight in block.parameters() if weight.dim() == 2)
    assert widths_of(size).width % 16 == 0
    if size >= 12:
        assert matrices == pytest.approx(8 * size**2, rel=0.03)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_do_not_see_each_other(name: str) -> None:
    model, inputs, order = NETWORKS[name](CELL_IN, CELL_OUT, 16), cells(5), torch.tensor([3, 1, 4, 0, 2])
    with torch.no_grad():
        reads, permuted = model(inputs, Course(FACE, 4, 3)), model(inputs[order], Course(FACE, 4, 3))
    for read, other in zip(reads, permuted, strict=True):
        torch.testing.assert_close(read[order], other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["GRU", "Transformer", "looped Transformer"])
def test_every_cell_can_reach_every_other(name: str) -> None:
    inputs = cells(1).requires_grad_()
    for place in (0, 19):
        (gradient,) = torch.autograd.grad(
            NETWORKS[name](CELL_IN, CELL_OUT, 16)(inputs, Course(FACE))[-1][0, place, 0], inputs
        )
        assert bool((gradient[0].abs().sum(1) > 0).all())


def test_a_convolution_sees_one_cell_further_at_each_step() -> None:
    inputs, model = cells(1).requires_grad_(), ConvGRU(CELL_IN, CELL_OUT, 8)
    for steps in (1, 2, 3):
        (gradient,) = torch.autograd.grad(model(inputs, Course(FACE, steps))[-1][0, 0, 0], inputs)
        seen = gradient[0].abs().sum(1).view(4, 5) > 0
        # the first state is 0: in the first step only what entered counts, around the cell itself
        expected = torch.zeros(4, 5, dtype=torch.bool)
        expected[: 2 * steps, : 2 * steps] = True
        assert not bool((seen & ~expected).any())
        assert bool(seen[min(3, steps), min(4, steps)])


def test_rotary_turns_by_hand() -> None:
    """Width 4 has a pair for the column and one for the row, both of one radian a cell."""
    torch.testing.assert_close(angles_of(torch.tensor([[2, 3]]), 4), torch.tensor([[2.0, 3.0]]))
    found = turned(torch.tensor([[1.0, 0.0, 0.0, 2.0]]), torch.tensor([[2.0, 3.0]]))
    wanted = [math.cos(2), math.sin(2), -2 * math.sin(3), 2 * math.cos(3)]
    torch.testing.assert_close(found, torch.tensor([wanted]))
    torch.testing.assert_close(angles_of(torch.tensor([[1, 0]]), 8), torch.tensor([[1.0, 0.1, 0.0, 0.0]]))
    assert places_of((3, 2)).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    with pytest.raises(ValueError, match="multiple of 4"):
        angles_of(places_of(FACE), 6)


@pytest.mark.parametrize("shift", [(1, 0), (0, 2), (-3, 5)])
def test_rotary_sees_relative_places_alone(shift: tuple[int, int]) -> None:
    query, key = torch.randn(2, 20, 12)
    here, there = places_of(FACE), places_of(FACE) + torch.tensor(shift)

    def products(places: torch.Tensor) -> torch.Tensor:
        angles = angles_of(places, 12)
        return turned(query, angles) @ turned(key, angles).T

    torch.testing.assert_close(products(here), products(there), atol=1e-4, rtol=1e-4)
    moved = turned(query, angles_of(here, 12)) @ turned(key, angles_of(there, 12)).T
    assert not torch.allclose(moved, products(here), atol=0.1)


def test_attention_sees_relative_places_alone() -> None:
    block, inputs = AttentionBlock(widths_of(16)), torch.randn(2, 20, 16)
    here, there = (angles_of(places_of(FACE) + shift, 4) for shift in (0, 3))
    with torch.no_grad():
        torch.testing.assert_close(block(inputs, here), block(inputs, there), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(block(inputs, here), block(inputs, 0 * here), atol=1e-4)


def test_a_transformer_knows_where_its_cells_are() -> None:
    inputs, model = cells(1), Transformer(CELL_IN, CELL_OUT, 16)
    swapped = inputs[:, torch.tensor([1, 0, *range(2, 20)])]
    with torch.no_grad():
        assert float((model(inputs, Course(FACE))[0][0, 7] - model(swapped, Course(FACE))[0][0, 7]).abs().max()) > 1e-4


@pytest.mark.parametrize("name", LOOPS)
def test_loops_give_the_same_by_steps_as_at_once(name: str) -> None:
    model: Looped = LOOPS[name](CELL_IN, CELL_OUT, 16)
    with torch.no_grad():
        at_once = model(cells(2), Course(FACE, 5, 3))
        entered, state = model.begin(cells(2), FACE)
        reads = []
        for _ in range(5):
            state = model.step(entered, state)
            reads.append(model.read(state))
    assert len(at_once) == 3
    for read, wanted in zip(at_once, reads[2:], strict=True):
        torch.testing.assert_close(read, wanted, atol=0, rtol=0)


@pytest.mark.parametrize("name", LOOPS)
def test_a_prelude_of_the_same_inputs_is_more_steps(name: str) -> None:
    model: Looped = LOOPS[name](CELL_IN, CELL_OUT, 16)
    with torch.no_grad():
        longer = model(cells(2), Course(FACE, 7))[-1]
        waited = model(cells(2), Course(FACE, 4, prelude=Prelude(3, cells(2))))[-1]
        others = model(cells(2), Course(FACE, 4, prelude=Prelude(3, cells(2, seed=1))))[-1]
    torch.testing.assert_close(waited, longer, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(others, longer, atol=1e-4)


@pytest.mark.parametrize("name", LOOPS)
def test_a_prelude_enters_through_the_faces(name: str) -> None:
    width, rows = SETTINGS.energy_dim, torch.randn(2, 64)
    model = InFaces(LOOPS[name](width, width, 16), EmbeddingMapper(SETTINGS))
    with torch.no_grad():
        longer = model(rows, Course(SETTINGS.sites, 7))[-1]
        waited = model(rows, Course(SETTINGS.sites, 4, prelude=Prelude(3, rows)))[-1]
    torch.testing.assert_close(waited, longer, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", LOOPS)
def test_a_prelude_has_no_gradient_and_recall_has_one(name: str) -> None:
    model: Looped = LOOPS[name](CELL_IN, CELL_OUT, 16)
    first, inputs = cells(1, seed=1).requires_grad_(), cells(1).requires_grad_()
    model(inputs, Course(FACE, 2, prelude=Prelude(3, first)))[-1].sum().backward()
    assert first.grad is None
    assert inputs.grad is not None and float(inputs.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", LOOPS)
def test_a_state_stays_in_range_for_hundreds_of_loops(name: str) -> None:
    model: Looped = LOOPS[name](CELL_IN, CELL_OUT, 16)
    with torch.no_grad():
        few, many = (model(cells(2), Course(FACE, steps))[-1] for steps in (16, 400))
    assert float(many.abs().max()) < 3 * float(few.abs().max()) + 1


def test_windows_by_hand() -> None:
    """One number a cell, on a face of 3 x 2: around the corner five cells of nine lie beyond the edge."""
    found = windows(torch.arange(1.0, 7.0).view(1, 6, 1), (3, 2), 1)[0, 0].view(2, 3, 3)
    assert found[0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]]
    assert found[1].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]


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


def test_a_ridge_of_windows_finds_what_lies_around() -> None:
    """The target of a cell is what its right neighbour has; on another face too."""

    def pairs(rows: int, face: tuple[int, int], seed: int) -> PairSet:
        numbers = torch.randn(rows, face[1], face[0], generator=torch.Generator().manual_seed(seed))
        right = torch.nn.functional.pad(numbers, (0, 1))[:, :, 1:]
        return PairSet(numbers.flatten(1), right.flatten(1), face=face)

    solved = WindowRidge.solve(pairs(200, (4, 3), 0), pairs(50, (4, 3), 1), 1, 1)
    test = pairs(5, (6, 5), 2)
    torch.testing.assert_close(solved(test.inputs[:], (6, 5)), test.targets[:], atol=1e-3, rtol=1e-3)


def test_lattice_off_is_the_lattice_without_its_inside() -> None:
    """A fresh lattice passes its sites on as they are, so both give the same."""
    off, lattice = LatticeOff(SETTINGS), create_processor(SETTINGS)
    off.mapper.load_state_dict(lattice.mapper.state_dict())
    rows = torch.nn.functional.normalize(torch.randn(20, 64), dim=1)
    with torch.no_grad():
        assert float(torch.cosine_similarity(off(rows), lattice(rows)).min()) > 0.99


def test_rows_become_cells_and_cells_rows() -> None:
    """Cell by cell as they lie in the row; what is missing is filled up, what is too much is cut off."""
    same = OverCells(Same(), cell_in=4, target_width=5)
    rows = torch.arange(10.0).view(2, 5)
    (read,) = same(rows, Course((2, 1)))
    assert read.tolist() == rows.tolist()
    assert same.inside.seen[0].tolist() == [[0, 1, 2, 3], [4, 0, 0, 0]]


def test_between_the_faces_a_network_that_does_nothing_is_lattice_off() -> None:
    off = LatticeOff(SETTINGS)
    faces, rows = EmbeddingMapper(SETTINGS), torch.randn(7, 64)
    faces.load_state_dict(off.mapper.state_dict())
    with torch.no_grad():
        (read,) = InFaces(Same(), faces)(rows, Course(SETTINGS.sites))
        torch.testing.assert_close(read, off(rows))


def test_an_identity_starts_as_one() -> None:
    rows = torch.randn(3, 5)
    torch.testing.assert_close(identity_linear(5, 4)(rows), rows[:, :4])


class Same(nn.Module):
    """Gives the cells as they are."""

    def forward(self, inputs: torch.Tensor, *course: object) -> list[torch.Tensor]:
        self.seen = inputs
        return [inputs]
