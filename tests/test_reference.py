"""The engine against the slow twin: values, statistics, traces and gradients, over random configurations."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor

from energy_flow.core import FlowResult
from energy_flow.core.flows import EVENT_NAMES

from .reference import Reference, SampleResult
from .strategies import Case, cases

VALUES, GRADIENTS = 1e-10, 1e-8  # relative, float64
DETAILS = ("energy", "gate", "children")
seen: Counter[str] = Counter()


def check_against_reference(case: Case) -> None:
    processor, inputs = case.build()
    weights = dict(processor.named_parameters())
    buffers = dict(processor.named_buffers())
    inputs.requires_grad_()
    along = (0.0, 0.5, 1.0)[case.seed % 3]
    result = processor.run(inputs, record=DETAILS, along=along)
    twin = Reference(case.config, weights | buffers)
    samples = [twin.run(row) for row in inputs]

    assert_close(result.output, torch.stack([sample.output for sample in samples]), VALUES)
    read, expected_read = read_along(result, samples, case, along)
    assert_close(read, expected_read, VALUES)
    assert_same_trace(result, samples)
    assert_same_statistics(result, samples)

    wanted = [inputs, *weights.values()]
    ours, theirs = gradients_of(read, wanted, case), gradients_of(expected_read, wanted, case)
    if not all(map(are_close, ours, theirs)):
        nearby = (inputs.detach() * (1 + 1e-14)).requires_grad_()
        moved = processor.run(nearby, along=along)
        other = gradients_of(
            moved.output.unsqueeze(0) if moved.along is None else moved.along, [nearby, *weights.values()], case
        )
        assume(all(map(are_close, ours, other)))  # a model that magnifies rounding as much tells nothing
    for our, their in zip(ours, theirs, strict=True):
        assert_close(our, their, GRADIENTS)

    stats = result.stats
    seen["configurations"] += 1
    for name in ("arrived", "faded", "spawned", "refused"):
        seen[name] += bool(getattr(stats, name).any())
    seen["moved sideways"] += bool((result.trace.position[:, :2].frac() != 0).any())


def gradients_of(read: Tensor, wanted: list[Tensor], case: Case) -> tuple[Tensor, ...]:
    """Of a random sum of all that was read."""
    pull = torch.randn(read.shape, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64)
    return torch.autograd.grad((read * pull).sum(), wanted, allow_unused=True, materialize_grads=True)


def are_close(ours: Tensor, theirs: Tensor) -> bool:
    scale = max(1.0, float(theirs.abs().max())) if theirs.numel() else 1.0
    return torch.allclose(ours, theirs, rtol=GRADIENTS, atol=GRADIENTS * scale)


def read_along(result: FlowResult, samples: list[SampleResult], case: Case, along: float) -> tuple[Tensor, Tensor]:
    """(R, B, E) what was read along the path, by engine and twin; the output alone where nothing was asked for."""
    if not along:
        assert result.along is None
        return result.output.unsqueeze(0), torch.stack([sample.output for sample in samples]).unsqueeze(0)
    assert result.along is not None
    path = case.config.untrained_path
    silent = path - max(1, math.floor(along * path))
    rows = [
        torch.stack([sample.along[step] if step < len(sample.along) else sample.output for sample in samples])
        for step in range(silent, path - 1)
    ]
    return result.along, torch.stack([*rows, torch.stack([sample.output for sample in samples])])


@pytest.mark.parametrize("configurations", [66, pytest.param(400, marks=pytest.mark.slow)])
def test_engine_equals_reference_on_random_configurations(configurations: int) -> None:
    seen.clear()
    settings(max_examples=configurations, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))(
        given(cases())(check_against_reference)
    )()
    assert seen["configurations"] >= configurations
    for name in ("arrived", "faded", "spawned", "refused", "moved sideways"):
        assert seen[name] >= configurations / 16, f"the configurations hardly exercise {name}: {dict(seen)}"


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    scale = max(1.0, float(theirs.detach().abs().max())) if theirs.numel() else 1.0
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * scale)


def assert_same_trace(result: FlowResult, samples: list[SampleResult]) -> None:
    trace = result.trace
    assert trace is not None
    for row, sample in enumerate(samples):
        mine = trace.sample == row
        keys = zip(trace.step[mine].tolist(), trace.flow_id[mine].tolist(), strict=True)
        ours = dict(zip(keys, mine.nonzero().flatten().tolist(), strict=True))
        assert set(ours) == {(record["step"], record["flow_id"]) for record in sample.records}
        for record in sample.records:
            index = ours[record["step"], record["flow_id"]]
            assert int(trace.parent_id[index]) == record["parent_id"]
            assert EVENT_NAMES[int(trace.event[index])] == record["event"]
            figures = torch.tensor([*record["position"], record["level"], record["mass"]], dtype=torch.float64)
            assert_close(
                torch.cat((trace.position[index], trace.level[index, None], trace.mass[index, None])), figures, VALUES
            )
            for name in ("energy", "gate", "shares", "refused"):
                ours_here, theirs = getattr(trace, name)[index], torch.tensor(record[name], dtype=torch.float64)
                assert torch.equal(ours_here.isnan(), theirs.isnan()), name
                assert_close(ours_here.nan_to_num(), theirs.nan_to_num(), VALUES)


def assert_same_statistics(result: FlowResult, samples: list[SampleResult]) -> None:
    stats = result.stats
    for row, sample in enumerate(samples):
        steps = len(sample.live)
        assert stats.live[:, row].tolist() == sample.live + [0] * (stats.steps - steps)
        assert stats.refused[:steps, row].tolist() == sample.refused
        for name, event in (("arrived", "arrived"), ("faded", "faded"), ("spawned", "born")):
            counts = [
                sum(r["event"] == event and r["step"] == step + 1 for r in sample.records) for step in range(steps)
            ]
            assert getattr(stats, name)[:steps, row].tolist() == counts
        for step in range(steps):
            levels = [r["level"] for r in sample.records if r["step"] == step + 1 and r["event"] != "born"]
            assert_close(
                stats.mean_level[step, row], torch.tensor(sum(levels) / len(levels), dtype=torch.float64), VALUES
            )
        figures = {
            "arrived_mass": sum(flow.mass for flow in sample.arrived),
            "faded_mass": sum(flow.mass for flow in sample.faded),
            "path_length": sum(r["step"] for r in sample.records if r["event"] == "arrived")
            / max(1, len(sample.arrived)),
            "coverage": sum(mass > 0 for mass in sample.site_mass) / len(sample.site_mass),
        }
        for name, figure in figures.items():
            assert_close(getattr(stats, name)[row].double(), torch.tensor(float(figure), dtype=torch.float64), VALUES)
