"""Traces as tables: what a run gives, kept on disk and read back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from energy_flow.analysis import Trace
from energy_flow.analysis.trace_file import COLUMNS, LISTS
from energy_flow.config import Box, create_grid_config
from energy_flow.core import create_processor
from energy_flow.core.flows import BORN, EVENT_NAMES, LAUNCHED

from .strategies import build_model
from .test_any_box import GRID
from .test_laws import BUSY
from .test_reference import DETAILS


@pytest.fixture(scope="module")
def trace() -> Trace:
    processor = build_model(BUSY, 2)
    return Trace.of(processor.run(torch.randn(3, 12, dtype=torch.float64), record=DETAILS), BUSY)


def assert_equal(one: Trace, two: Trace) -> None:
    for field in dataclasses.fields(Trace):
        ours, theirs = getattr(one, field.name), getattr(two, field.name)
        if isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True, msg=field.name)
        else:
            assert ours == theirs, field.name


def test_a_trace_is_read_back_as_it_was_written(trace: Trace, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    assert_equal(Trace.load(trace.save(tmp_path / "all.parquet")), trace)
    without = dataclasses.replace(trace, energy=None)
    assert_equal(Trace.load(without.save(tmp_path / "without.parquet")), without)
    childless = build_model(GRID, 2).run(torch.randn(1, 12, dtype=torch.float64), record="children")
    childless = Trace.of(childless, GRID)
    assert childless.shares.shape == (len(childless), 0)
    assert_equal(Trace.load(childless.save(tmp_path / "childless.parquet")), childless)


def test_other_tools_read_the_file(trace: Trace, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(trace.save(tmp_path / "trace.parquet"))
    assert table.column_names == [*COLUMNS, *LISTS]
    assert table["event"].to_pylist() == [EVENT_NAMES[code] for code in trace.event.tolist()]
    assert table["flow"].to_pylist() == trace.flow_id.tolist()


def test_a_trace_knows_sites_children_and_levels(trace: Trace) -> None:
    launched = trace.event == LAUNCHED
    assert torch.equal(trace.site[launched], trace.flow_id[launched])
    assert (trace.parent_id[trace.event == BORN] >= 0).all()
    torch.testing.assert_close(trace.energy.square().mean(1).sqrt(), trace.level)
    assert torch.equal(trace.gate.isnan().all(1), launched | (trace.event == BORN))
    assert int((trace.shares > 0).sum()) == int((trace.event == BORN).sum()) > 0
    one = trace.of_sample(1)
    assert set(one.sample.tolist()) == {1}
    assert len(one) == int((trace.sample == 1).sum()) < len(trace)
    assert one.energy.shape == (len(one), BUSY.energy_dim)


def test_details_are_the_same_without_gradients() -> None:
    processor, inputs = build_model(BUSY, 2), torch.randn(3, 12, dtype=torch.float64)
    with torch.no_grad():
        ours = Trace.of(processor.run(inputs, record=DETAILS), BUSY)
    theirs = Trace.of(processor.run(inputs, record=DETAILS), BUSY)
    for name in LISTS:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    plain = Trace.of(processor.run(inputs, record=()), BUSY)
    assert all(getattr(plain, name) is None for name in LISTS)
    assert processor.run(inputs, record=False).trace is None


def test_refused_children_are_those_that_statistics_count() -> None:
    narrow = dataclasses.replace(BUSY, max_spawn_per_step=1)
    result = build_model(narrow, 2).run(torch.randn(3, 12, dtype=torch.float64), record="children")
    per_step = torch.zeros_like(result.stats.refused)
    refused = (result.trace.refused > 0).sum(1)
    per_step.index_put_((result.trace.step - 1, result.trace.sample), refused, accumulate=True)
    assert torch.equal(per_step, result.stats.refused)
    assert per_step.sum() > 0


def test_who_coasts_has_no_gate() -> None:
    config = dataclasses.replace(GRID, coast=50.0, lattice_depth=8, initial_steps=7)
    result = build_model(config, 2).eval().run(torch.randn(1, 12, dtype=torch.float64), record="gate")
    assert int(result.trace.gate.isnan().all(1).sum()) == int(result.stats.coasted.sum()) + config.num_sites
    assert result.stats.coasted.sum() > 0


def test_details_that_cannot_be_recorded_are_refused() -> None:
    class Own(torch.nn.Module):
        """A carrier with no gate."""

    processor, inputs = build_model(BUSY, 2), torch.randn(3, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"record has \['gates'\]; give True, or some of energy, gate, children"):
        processor.run(inputs, record="gates")
    processor.carrier = Own()
    with pytest.raises(ValueError, match=r"record has gate; Own has no method gate\(top\)"):
        processor.run(inputs, record="gate")


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


def test_the_command_writes_what_runs_do(tmp_path, capsys) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("tyro")
    from energy_flow.cli import main
    from energy_flow.training.model_folder import save_model

    config = create_grid_config(
        lattice_width=5, lattice_height=5, sites=(5, 5), max_active_flows=25, input_embedding_dim=150,
        output_embedding_dim=50, lattice_depth=6, initial_steps=5, coast=0.0, carrier_hidden_size=4, energy_noise=0.3,
    )  # fmt: skip
    save_model(create_processor(config), tmp_path / "best")
    given = ["trace", str(tmp_path), "--data", "maze", "--rows", "40", "--box", "3x3x4"]
    main([*given, "--samples", "39", "2", "--energy", "--gate", "--children"])
    assert "wrote" in capsys.readouterr().out
    trace = Trace.load(tmp_path / "trace.parquet")
    assert set(trace.sample.tolist()) == {39, 2}
    assert trace.box == Box(3, 3, 4)
    assert len(trace) == 2 * 9 * 4
    assert trace.gate.shape == trace.energy.shape == (len(trace), config.energy_dim)
    assert trace.shares.shape == trace.refused.shape == (len(trace), 0)
    main([*given, "--samples", "-1", "--output", str(tmp_path / "new" / "all.parquet")])
    every = Trace.load(tmp_path / "new" / "all.parquet")
    assert torch.equal(every.of_sample(39).level, trace.of_sample(39).level)  # as it is judged: no noise of training
    assert len(set(every.sample.tolist())) == 40
    with pytest.raises(SystemExit):
        main([*given, "--samples", "40"])
    assert "--samples 40; give rows from 0 to 39, or -1 for all" in capsys.readouterr().err


def test_one_file_for_two_and_one_sample_twice_are_refused(tmp_path, monkeypatch, capsys) -> None:
    from energy_flow.cli import main

    monkeypatch.chdir(tmp_path)
    for options, words in (
        (["--output", "t.x", "--page", "t.x"], "--page t.x is the file of the trace too; give another"),
        (["--output", "."], "--output . is a folder; give the path of a file"),
        (["--samples", "2", "1", "2"], "--samples has 2 more than once; give every row once"),
    ):
        with pytest.raises(SystemExit):
            main(["trace", "maze", "--box", "3x3x9", "--rows", "5", *options])
        assert words in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_trace_without_records_is_read_back(trace: Trace, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    nothing = trace.records(torch.tensor([], dtype=torch.int64))
    assert_equal(Trace.load(nothing.save(tmp_path / "nothing.parquet")), nothing)
