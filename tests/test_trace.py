"""Traces as tables: what a run gives, kept on disk and read back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from energy_flow.analysis import Trace
from energy_flow.analysis.trace import COLUMNS
from energy_flow.config import Box
from energy_flow.core.flows import BORN, EVENT_NAMES, LAUNCHED

from .strategies import build_model
from .test_any_box import GRID
from .test_laws import BUSY


@pytest.fixture(scope="module")
def trace() -> Trace:
    processor = build_model(BUSY, 2)
    return Trace.of(processor.run(torch.randn(3, 12, dtype=torch.float64), record="energy"), BUSY)


def assert_equal(one: Trace, two: Trace) -> None:
    for field in dataclasses.fields(Trace):
        ours, theirs = getattr(one, field.name), getattr(two, field.name)
        assert torch.equal(ours, theirs) if isinstance(theirs, torch.Tensor) else ours == theirs, field.name


def test_a_trace_is_read_back_as_it_was_written(trace: Trace, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    assert_equal(Trace.load(trace.save(tmp_path / "all.parquet")), trace)
    without = dataclasses.replace(trace, energy=None)
    assert_equal(Trace.load(without.save(tmp_path / "without.parquet")), without)


def test_other_tools_read_the_file(trace: Trace, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(trace.save(tmp_path / "trace.parquet"))
    assert table.column_names == [*COLUMNS, "energy"]
    assert table["event"].to_pylist() == [EVENT_NAMES[code] for code in trace.event.tolist()]
    assert table["flow"].to_pylist() == trace.flow_id.tolist()


def test_a_trace_knows_sites_children_and_levels(trace: Trace) -> None:
    launched = trace.event == LAUNCHED
    assert torch.equal(trace.site[launched], trace.flow_id[launched])
    assert (trace.parent_id[trace.event == BORN] >= 0).all()
    torch.testing.assert_close(trace.energy.square().mean(1).sqrt(), trace.level)
    one = trace.of_sample(1)
    assert set(one.sample.tolist()) == {1}
    assert len(one) == int((trace.sample == 1).sum()) < len(trace)
    assert one.energy.shape == (len(one), BUSY.energy_dim)


def test_what_is_no_trace_is_refused_by_name(trace: Trace, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    processor = build_model(GRID, 2)
    inputs = torch.randn(1, 24, dtype=torch.float64)
    with pytest.raises(ValueError, match="the run has no trace; call processor.run"):
        Trace.of(processor.run(inputs, box=Box(4, 3, 9)), GRID)
    with pytest.raises(ValueError, match="config has a box of 3x2x4, and the trace reaches cell"):
        Trace.of(processor.run(inputs, record=True, box=Box(4, 3, 9)), GRID)
    with pytest.raises(ValueError, match=r"sample = 7; the trace has \[0, 1, 2\]"):
        trace.of_sample(7)
    with pytest.raises(FileNotFoundError, match="no such file; give one that Trace.save has written"):
        Trace.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table", encoding="utf-8")
    with pytest.raises(ValueError, match="is no Parquet file"):
        Trace.load(tmp_path / "text.parquet")
    parquet.write_table(pyarrow.table({"step": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="is no trace of version 1: it lacks event, flow"):
        Trace.load(tmp_path / "other.parquet")
