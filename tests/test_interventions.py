"""What is done otherwise: against the slow twin, in values and gradients, and what must hold whatever the model."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_flow.config import Box, EnergyConfig
from energy_flow.core import interventions as act
from energy_flow.core.flows import FADED

from .reference_interventions import Intervened
from .strategies import Case, build_model, cases
from .test_any_box import GRID
from .test_laws import BUSY
from .test_reference import GRADIENTS, VALUES, assert_close, assert_same_statistics, assert_same_trace

BATCH = 3
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
        act.Redirect([place], flows=[0], samples=who["samples"], steps=who["steps"]),
        act.AddNoise(0.3, draw(st.integers(0, 3)), **who),
        act.SwapEnergies(sources, steps=[draw(st.integers(1, 3))]),
        partial(act.Replay, follows=sources, samples=who["samples"]),
    )
    return draw(st.lists(st.sampled_from(every), min_size=1, max_size=2, unique_by=id))


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.data())
def check_against_reference(case: Case, data: st.DataObject) -> None:
    processor, inputs = case.build()
    inputs.requires_grad_()
    trace = processor.run(inputs.flip(0), record=True).trace
    hand = data.draw(hands(case.config, len(inputs)))
    hand = [one(trace) if isinstance(one, partial) else one for one in hand]
    hand.sort(key=lambda one: type(one) is act.SwapEnergies)  # the twin keeps what the others do before they swap
    result = processor.run(inputs, record=True, intervene=hand)
    weights, buffers = dict(processor.named_parameters()), dict(processor.named_buffers())
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
    plain = processor.run(inputs).output
    for one in hand:
        seen[type(one).__name__] += not torch.equal(plain, result.output)


def test_engine_equals_reference_under_interventions() -> None:
    seen.clear()
    check_against_reference()
    for name in set(act.__all__) - {"Intervention", "Barrier", "Moment", "edges_of"}:
        assert seen[name] >= 4, f"the cases hardly exercise {name}: {dict(seen)}"
