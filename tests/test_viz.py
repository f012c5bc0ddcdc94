"""The picture of the flows: it is drawn for one sample of any trace, and a wrong argument is named."""

from __future__ import annotations

import sys

import pytest
import torch

from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import FlowProcessor, FlowResult, FlowTrace, create_processor
from energy_flow.viz import draw_flows

CONFIG = create_config("tiny", carrier_hidden_size=8, carrier_num_layers=1)
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def processor() -> FlowProcessor:
    torch.manual_seed(0)
    return create_processor(CONFIG)


@pytest.fixture(scope="module")
def result(processor: FlowProcessor) -> FlowResult:
    return processor.run(torch.nn.functional.normalize(torch.randn(2, CONFIG.input_embedding_dim)), record=True)


def trace_of(result: FlowResult) -> FlowTrace:
    assert result.trace is not None
    return result.trace


def test_picture_is_written(result: FlowResult, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "flows.png"
    figure = draw_flows(result, CONFIG, path, title="two samples")
    assert path.read_bytes().startswith(PNG)
    assert path.stat().st_size > 10_000
    assert figure.get_suptitle() == "two samples"


@pytest.mark.parametrize("sample", [0, 1])
def test_every_move_of_the_sample_is_a_line_and_no_other(result: FlowResult, sample: int) -> None:
    """Ids of flows are unique in a sample only: flows of two samples must not be joined."""
    pytest.importorskip("matplotlib")
    trace = trace_of(result)
    mine = trace.sample == sample
    figure = draw_flows(trace, CONFIG, sample=sample)
    figure.draw_without_rendering()  # segments are those of the projection
    moves = figure.axes[0].collections[0].get_segments()
    assert len(moves) == int(mine.sum()) - len(trace.flow_id[mine].unique())


def test_flows_without_a_move_are_points(result: FlowResult) -> None:
    pytest.importorskip("matplotlib")
    trace = trace_of(result)
    first = (trace.step == trace.step.min()).nonzero().flatten()
    figure = draw_flows(FlowTrace(*(None if one is None else one[first] for one in trace)), CONFIG)
    figure.draw_without_rendering()
    assert not figure.axes[0].collections[0].get_segments()


def test_no_colour_is_cut_off_unless_asked(result: FlowResult) -> None:
    pytest.importorskip("matplotlib")
    trace = trace_of(result)
    highest = float(trace.level[trace.sample == 1].max())
    assert draw_flows(trace, CONFIG, sample=1).axes[1].get_ylim() == pytest.approx((0, highest))
    assert draw_flows(trace, CONFIG, sample=1, brightest=4.0).axes[1].get_ylim() == pytest.approx((0, 4))


def test_a_trace_of_bfloat16_is_drawn(result: FlowResult) -> None:
    pytest.importorskip("matplotlib")
    trace = trace_of(result)
    half = trace._replace(level=trace.level.bfloat16(), mass=trace.mass.bfloat16())
    assert draw_flows(half, CONFIG).axes


@pytest.mark.parametrize(
    ("changed", "config", "options", "message"),
    [
        ({"trace": None}, CONFIG, {}, r"run has no trace; call processor.run\(rows, record=True\)"),
        ({}, CONFIG, {"sample": 2}, r"sample must be one of the trace's, \[0, 1\], got 2"),
        ({}, CONFIG.replace(lattice_depth=3), {}, r"its lattice is 12 x 12 x 3 cells, .* give processor.config"),
        ({}, CONFIG, {"brightest": 0.0}, "brightest must be above 0, got 0.0"),
    ],
)
def test_a_wrong_argument_is_named(
    result: FlowResult, changed: dict, config: EnergyConfig, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_flows(result._replace(**changed), config, **options)


def test_an_output_is_no_run(result: FlowResult) -> None:
    with pytest.raises(TypeError, match="run must be a FlowResult or a FlowTrace, got Tensor"):
        draw_flows(result.output, CONFIG)  # type: ignore[arg-type]


def test_without_matplotlib_it_says_how_to_install_it(result: FlowResult, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[viz\]'"):
        draw_flows(result, CONFIG)
