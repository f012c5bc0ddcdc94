"""The forward pass as one graph of fixed shapes: the same numbers, and what torch.export makes of it."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from energy_flow.core import EnergyCarrier
from energy_flow.core.execution import StaticForm

from .strategies import Case, build_model, cases
from .test_laws import BUSY


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_the_static_form_equals_the_run(case: Case) -> None:
    processor, inputs = case.build()
    torch.testing.assert_close(StaticForm(processor)(inputs), processor(inputs), rtol=1e-10, atol=1e-11)


def test_it_holds_where_children_start_and_are_refused() -> None:
    processor, inputs = build_model(BUSY, seed=2), torch.randn(8, 12, dtype=torch.float64)
    stats = processor.run(inputs).stats
    assert int(stats.spawned.sum()) > 10
    assert int(stats.refused.sum()) > 10
    torch.testing.assert_close(StaticForm(processor)(inputs), processor(inputs), rtol=1e-10, atol=1e-11)


@pytest.mark.filterwarnings("ignore")  # torch's own, while it exports
@pytest.mark.slow
@pytest.mark.parametrize("children", [0, 2])
def test_an_exported_program_runs_on_other_batches_and_is_saved(children: int) -> None:
    config = BUSY.replace(max_children=children, lattice_depth=4, initial_steps=3)
    model = build_model(config, seed=2).eval()
    rows = torch.randn(5, 12, dtype=torch.float64)
    program = torch.export.export(model, (rows,), dynamic_shapes=({0: torch.export.Dim("rows", min=2, max=512)},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for count in (5, 9):
        other = torch.randn(count, 12, dtype=torch.float64)
        torch.testing.assert_close(loaded(other), model(other), rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore")  # torch's own, while it exports
@pytest.mark.slow
@pytest.mark.parametrize("children", [0, 2])
def test_an_onnx_file_gives_the_same_numbers(tmp_path, children: int) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    config = BUSY.replace(max_children=children, lattice_depth=4, initial_steps=3)
    model = build_model(config, seed=2, dtype=torch.float32).eval()
    dynamic = ({0: torch.export.Dim("rows", min=2, max=512)},)
    torch.onnx.export(model, (torch.randn(5, 12),), tmp_path / "m.onnx", dynamo=True, dynamic_shapes=dynamic)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    for count in (5, 9):
        rows = torch.randn(count, 12)
        found = session.run(None, {session.get_inputs()[0].name: rows.numpy()})[0]
        torch.testing.assert_close(torch.as_tensor(found), model(rows).detach(), rtol=1e-4, atol=1e-5)


class Carrier(torch.nn.Module):
    """A carrier of one's own, which knows no energy rule."""

    def __init__(self, own: EnergyCarrier) -> None:
        super().__init__()
        self.own, self.child_offset = own, own.child_offset
        self.child_states, self.spawn = own.child_states, own.spawn

    def forward(self, *inputs):
        return self.own(*inputs)


def test_it_takes_a_carrier_of_ones_own() -> None:
    processor, inputs = build_model(BUSY.replace(max_children=0), seed=2), torch.randn(3, 12, dtype=torch.float64)
    processor.carrier = Carrier(processor.carrier)  # type: ignore[assignment]
    torch.testing.assert_close(StaticForm(processor)(inputs), processor(inputs), rtol=1e-10, atol=1e-11)


def test_an_export_of_another_box_is_that_of_its_view() -> None:
    processor, box = build_model(BUSY.replace(max_children=0), seed=2).eval(), BUSY.box._replace(depth=4)
    inputs = torch.randn(3, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match="an exported model takes embeddings alone; for another box export"):
        torch.export.export(processor, (inputs,), {"box": box})
    program = torch.export.export(processor.in_box(box), (inputs,))
    torch.testing.assert_close(program.module()(inputs), processor(inputs, box=box), rtol=1e-10, atol=1e-11)


def test_its_gradients_are_those_of_the_run_where_children_are_born() -> None:
    processor, rows = build_model(BUSY, 2), torch.randn(3, 12, dtype=torch.float64)
    weights = list(processor.parameters())
    result = processor.run(rows)
    assert result.stats.spawned.any()
    ours, theirs = (
        torch.autograd.grad(outputs.square().sum(), weights, allow_unused=True, materialize_grads=True)
        for outputs in (StaticForm(processor)(rows), result.output)
    )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-8, atol=1e-8)
