"""What is done otherwise: against the slow twin, in values and gradients, and what must hold whatever the model."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from energy_flow.config import Box, EnergyConfig
from energy_flow.core import create_processor
from energy_flow.core import interventions as act
from energy_flow.core.interventions.counted_noise import normal_of

from .reference_interventions import Intervened
from .strategies import Case, build_model, cases
from .test_any_box import GRID
from .test_laws import BUSY
from .test_reference import DETAILS, GRADIENTS, VALUES, assert_close, assert_same_statistics, assert_same_trace

seen: Counter[str] = Counter()


@st.composite
def hands(draw: st.DrawFn, config: EnergyConfig, batch: int) -> list:
    """Some interventions that fit a box and a batch; traces to replay are left to the test."""
    sites, depth = config.num_sites, config.lattice_depth
    who = {
        "flows": draw(st.sampled_from([None, [0], [sites - 1, sites, sites + 1]])),
        "samples": draw(st.sampled_from([None, [0]])),
        "steps": draw(st.sampled_from([None, [1], [2, 3]])),
    }
    otherwise = draw(st.sampled_from(["fade", "straight"]))
    cells = [[draw(st.integers(0, n - 1)) for n in config.box] for _ in range(draw(st.integers(1, 12)))]
    edges = [[draw(st.integers(0, n - 1)) for n in (sites, depth, sites, depth)] for _ in range(20)]
    place = [draw(st.integers(0, config.lattice_width - 1)), draw(st.integers(0, config.lattice_height - 1))]
    sources = [draw(st.integers(0, batch - 1)) for _ in range(batch)]
    every = (
        act.BlockCells(cells, otherwise=otherwise, **who),
        act.BlockEdges(edges, otherwise=otherwise, **who),
        act.BlockPlanes([draw(st.integers(1, depth - 1))], otherwise=otherwise, **who),
        act.Kill(**who),
        act.Freeze(**who),
        act.GoStraight(**who),
        act.Redirect([place], flows=[0], steps=who["steps"]),
        act.AddNoise(0.3, draw(st.integers(0, 3)), **who),
        act.SwapEnergies(sources, steps=[draw(st.integers(1, 3))]),
        partial(act.Replay, follows=sources, samples=who["samples"]),
    )
    return draw(st.lists(st.sampled_from(every), min_size=1, max_size=5, unique_by=id))


def check_against_reference(case: Case, data: st.DataObject) -> None:
    processor, inputs = case.build()
    inputs.requires_grad_()
    trace = processor.run(inputs.flip(0), record=True).trace
    hand = data.draw(hands(case.config, len(inputs)))
    hand = [one(trace) if isinstance(one, partial) else one for one in hand]
    hand.sort(key=lambda one: type(one) is act.SwapEnergies)  # the twin keeps what the others do before they swap
    result = processor.run(inputs, record=DETAILS, intervene=hand)
    off = (result.trace.position - result.trace.position.round()).abs()
    assume(not ((off > 0) & (off < 1e-12)).any())  # where both round differently, one covers a site and one does not
    weights, buffers = dict(processor.named_parameters()), dict(processor.named_buffers())
    plain = processor.run(inputs).output
    alone = torch.stack(
        [Intervened(case.config, weights | buffers, [], row).run(one).output for row, one in enumerate(inputs)]
    )
    assume(torch.allclose(plain, alone, rtol=1e-11, atol=1e-11))  # models that magnify rounding are another test's
    energies: dict = {}
    for row, one in enumerate(inputs):  # once without: what the others have before they swap
        Intervened(
            case.config, weights | buffers, [o for o in hand if type(o) is not act.SwapEnergies], row, energies
        ).run(one)
    samples = [
        Intervened(case.config, weights | buffers, hand, row, dict(energies)).run(one) for row, one in enumerate(inputs)
    ]
    expected = torch.stack([sample.output for sample in samples])
    assert_close(result.output, expected, VALUES)
    assert_same_trace(result, samples)
    assert_same_statistics(result, samples)
    pull = torch.randn(expected.shape, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64)
    wanted = [inputs, *weights.values()]
    ours, theirs = (
        torch.autograd.grad((found * pull).sum(), wanted, allow_unused=True, materialize_grads=True)
        for found in (result.output, expected)
    )
    for our, their in zip(ours, theirs, strict=True):
        assert_close(our, their, GRADIENTS)
    for one in hand:
        seen[type(one).__name__] += not torch.equal(plain, result.output)


@pytest.mark.parametrize("examples", [36, pytest.param(200, marks=pytest.mark.slow)])
def test_engine_equals_reference_under_interventions(examples: int) -> None:
    seen.clear()
    settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # models are small as they are
    )(given(cases(), st.data())(check_against_reference))()
    for name in set(act.__all__) - {"Intervention", "Barrier", "Moment", "edges_of"}:
        assert seen[name] >= examples / 100, f"the cases hardly exercise {name}: {dict(seen)}"


def test_one_s_own_routes_replayed_change_no_bit() -> None:
    processor = build_model(BUSY, 2)
    inputs = torch.randn(4, 12, dtype=torch.float64)
    plain = processor.run(inputs, record=True)
    again = processor.run(inputs, record=True, intervene=[act.Replay(plain.trace)])
    assert torch.equal(again.output, plain.output)
    other = processor.run(inputs, intervene=[act.Replay(plain.trace, follows=[1, 2, 3, 0])])
    assert not torch.allclose(other.output, plain.output)


def test_routes_are_followed_by_the_numbers_of_a_trace() -> None:
    processor = build_model(BUSY, 2)
    inputs = torch.randn(2, 12, dtype=torch.float64)
    plain = processor.run(inputs, record=True)
    trace = plain.trace._replace(sample=torch.tensor([10**12, 7]).index_select(0, plain.trace.sample))  # rows of a set
    again = processor.run(inputs, intervene=[act.Replay(trace, follows=[10**12, 7])])
    assert torch.equal(again.output, plain.output)
    for follows, number in ((None, 0), ([7, 1], 1)):
        with pytest.raises(ValueError, match=f"follows has {number}; give samples of the trace: 7, 1000000000000"):
            processor.run(inputs, intervene=[act.Replay(trace, follows=follows)])


def test_two_barriers_are_as_one_with_both() -> None:
    processor, inputs = build_model(BUSY, 2), torch.randn(4, 12, dtype=torch.float64)
    cells = processor.run(inputs, record=True).trace.position[40:60].long().tolist()
    apart = [act.BlockCells(cells[:10]), act.BlockCells(cells[10:])]
    one = processor.run(inputs, intervene=[act.BlockCells(cells)])
    assert int(one.stats.faded.sum()) > 0
    assert torch.equal(processor.run(inputs, intervene=apart).output, one.output)


def test_mass_is_kept_in_the_books_under_a_barrier() -> None:
    processor, inputs = build_model(BUSY, 2), torch.randn(4, 12, dtype=torch.float64)
    stats = processor.run(inputs, intervene=[act.BlockPlanes([3], samples=[1])]).stats
    total = torch.full((4,), float(BUSY.num_sites), dtype=torch.float64)
    torch.testing.assert_close(stats.arrived_mass + stats.faded_mass, total)
    assert stats.arrived_mass[1] == 0
    assert (stats.arrived_mass[[0, 2, 3]] > 0).all()


def test_noise_knows_neither_the_order_of_rows_nor_the_other_samples() -> None:
    processor, inputs = build_model(BUSY, 2), torch.randn(4, 12, dtype=torch.float64)
    noise = [act.AddNoise(0.2, seed=5)]
    together = processor.run(inputs, intervene=noise).output
    torch.testing.assert_close(processor.run(inputs[:2], intervene=noise).output, together[:2])
    assert not torch.allclose(processor.run(inputs, intervene=[act.AddNoise(0.2, seed=6)]).output, together)
    numbers = normal_of(1, 2, torch.arange(20_000), torch.arange(20_000) % 50, 4)
    assert abs(float(numbers.mean())) < 0.02
    assert abs(float(numbers.std()) - 1) < 0.02
    assert abs(float(numbers.pow(4).mean()) - 3) < 0.15


def test_a_model_that_compiles_or_coasts_may_be_intervened_with() -> None:
    inputs = torch.randn(2, 12, dtype=torch.float64)
    processor = build_model(GRID.replace(coast=0.3, lattice_depth=20, initial_steps=19), 5).eval()
    stats = processor.run(inputs, intervene=[act.Kill(flows=[0], steps=[4])]).stats
    assert stats.faded[3].tolist() == [1, 1]
    assert stats.coasted.any()


@pytest.mark.parametrize(
    ("hand", "message"),
    [
        (act.Kill(samples=[4]), "samples has 4; give rows of the batch: 0 to 3"),
        (act.Kill(steps=[0]), "steps has 0; give steps, 1 is the first: 1 or more"),
        (act.BlockPlanes([7]), "planes has 7; give planes behind the input face: 1 to 6"),
        (act.BlockCells([[6, 0, 0]]), r"cells has \[6, 0, 0\]; give x, y, z within \(6, 5, 7\)"),
        (act.BlockCells([[0.5, 0, 0]]), "cells has shape .* and dtype torch.float32; give whole numbers x, y, z"),
        (act.BlockCells([[0, 0, 1]], otherwise="stay"), "otherwise = 'stay'; give fade or straight"),
        (act.Redirect([[0, 0]]), "places has shape .*; give .x, y. for each of flows = None"),
        (act.Redirect([[9, 0]], flows=[0]), r"places = .*; give x and y within a face of \(6, 5\) cells"),
        (act.SwapEnergies([0]), "sources has 1 entries for 4 rows; give one sample for each"),
        (act.AddNoise(-1.0), "std = -1.0; give 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(hand: act.Intervention, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_processor(BUSY).run(torch.ones(4, 12), intervene=[hand])


def test_routes_of_another_box_are_refused() -> None:
    processor = create_processor(GRID)
    trace = processor.run(torch.ones(1, 24), record=True, box=Box(4, 3, 9)).trace
    with pytest.raises(ValueError, match="trace reaches cell .*; it is of another box than 3x2x4"):
        processor.run(torch.ones(1, 12), intervene=[act.Replay(trace)])


@pytest.mark.parametrize("of", [list, tuple, np.array, torch.tensor, iter])
def test_numbers_are_taken_in_any_form(of) -> None:
    processor, rows = build_model(BUSY, 2), torch.randn(4, 12, dtype=torch.float64)
    trace = processor.run(rows, record=True).trace
    plain = [act.Kill(flows=[1, 2], steps=[1]), act.BlockPlanes([3]), act.SwapEnergies([1, 0, 3, 2])]
    plain.append(act.Replay(trace, [1, 0, 2, 3], samples=[0]))
    given = [act.Kill(flows=of([1, 2]), steps=of([1])), act.BlockPlanes(of([3])), act.SwapEnergies(of([1, 0, 3, 2]))]
    given.append(act.Replay(trace, of([1, 0, 2, 3]), samples=of([0])))
    for one, other in zip(plain, given, strict=True):
        torch.testing.assert_close(
            processor.run(rows, intervene=iter([other])).output, processor.run(rows, intervene=[one]).output
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: act.Kill(flows=[1.7]), "flows has 1.7; give whole numbers"),
        (lambda: act.Kill(steps=torch.tensor([1.5])), "steps has 1.5; give whole numbers"),
        (lambda: act.Kill(samples=[True]), "samples has True; give whole numbers"),
        (lambda: act.Kill(flows=3), "flows = 3; give a list of whole numbers"),
        (lambda: act.Redirect([[0, 0], [1, 1]], flows=[1, 1]), "flows has 1 more than once; give every flow one place"),
        (lambda: act.AddNoise(0.1, seed=-1), "seed = -1; give 0 or more"),
    ],
)
def test_numbers_that_are_not_whole_or_stand_twice_are_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_model(BUSY, 2).run(torch.randn(4, 12, dtype=torch.float64), intervene=[make()])


def test_what_is_no_list_of_interventions_is_refused() -> None:
    processor, rows = build_model(BUSY, 2), torch.randn(4, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"intervene = Kill.*; give a list, such as \[Kill"):
        processor.run(rows, intervene=act.Kill())
    with pytest.raises(ValueError, match="intervene has 'Kill'; give a list of interventions"):
        processor.run(rows, intervene=["Kill"])
    with pytest.raises(ValueError, match="record = None; give True, False, or some of energy, gate, children"):
        processor.run(rows, record=None)
    nobody = processor.run(rows, intervene=[act.Redirect(torch.zeros(0, 2), flows=[])]).output
    torch.testing.assert_close(nobody, processor.run(rows).output)
