"""The flows of one sample on their way through the lattice, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config import EnergyConfig
from ..core import FlowResult, FlowTrace

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

THINNEST, WIDTH_OF_MASS = 0.5, 3.0  # of a line: at mass 0, and what a mass of 1 adds


def draw_flows(
    run: FlowResult | FlowTrace,
    config: EnergyConfig,
    path: str | Path | None = None,
    *,
    sample: int = 0,
    title: str = "",
    brightest: float | None = None,
) -> Figure:
    """Draw every flow of one sample: where it went, how strong it was (colour) and how much mass it carried (width).

    The input face is on the left and the output face on the right. A point is a flow at a step, a line its move to the
    next; a child begins where it was born.

    Args:
        run: what `processor.run(rows, record=True)` gave, or its trace: R records, `position` (R, 3) as x, y, z in
            cells, and `sample`, `flow_id`, `level` and `mass` (R,); of any precision and on any device.
        config: the configuration of that processor; its width, height and depth are the box.
        path: file to write, in the format of its ending (.png, .svg, .pdf); nothing is written without one.
        sample: row of the batch.
        title: a line above the picture.
        brightest: level at the bright end of the colours; None takes the sample's highest.

    Returns:
        The figure, as matplotlib has it, with one 3D axes and a bar of colours.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `run` is neither a result nor a trace.
        ValueError: a run without a trace, a sample that the trace has no record of, cells outside of the lattice of
            `config`, or `brightest` that is not above 0.
    """
    trace = _records_of(run, sample)
    _require_box(trace, config)
    if brightest is not None and not brightest > 0:
        raise ValueError(f"brightest must be above 0, got {brightest}; give a level, or None for the sample's highest")
    try:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'energy-flow[viz]'") from error

    figure = Figure(figsize=(9, 4.4))
    axes = _box(figure, config)
    highest = float(trace.level.max()) if brightest is None else brightest
    colours = ScalarMappable(Normalize(0, highest), colormaps["viridis"])
    _draw_paths(axes, colours, trace)
    figure.suptitle(title, fontsize=10, y=0.97)
    bar = figure.colorbar(colours, cax=figure.add_axes((0.93, 0.25, 0.015, 0.5)))
    bar.set_label("level (RMS of the energy)")
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _box(figure: Figure, config: EnergyConfig) -> Any:
    """3D axes of the lattice's size, z from left to right."""
    axes: Any = figure.add_axes((-0.12, -0.12, 1.1, 1.2), projection="3d")
    across, up, along = ((0, max(size - 1, 1)) for size in _sizes(config))
    axes.set(xlim=along, ylim=across, zlim=up)
    axes.set(xlabel="z: input face to output face", ylabel="x", zlabel="y")
    axes.set_box_aspect((2.4, 1, 1))
    axes.view_init(20, -68)
    return axes


def _draw_paths(axes: Any, colours: ScalarMappable, trace: FlowTrace) -> None:
    """The points and moves of all flows. A collection of each, since a line of its own for every move takes seconds."""
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    order = trace.flow_id.argsort(stable=True)  # the records of a flow one after another, by step as they are recorded
    flows, places = trace.flow_id[order], trace.position[order][:, [2, 0, 1]].float()
    shades = colours.to_rgba(trace.level[order].numpy())
    moves = (flows[1:] == flows[:-1]).nonzero().flatten()
    lines = Line3DCollection(
        torch.stack([places[moves], places[moves + 1]], 1).numpy(),
        colors=shades[moves.numpy() + 1],
        linewidths=(THINNEST + WIDTH_OF_MASS * trace.mass[order][moves]).numpy(),
    )
    axes.add_collection3d(lines, autolim=False)
    axes.scatter(*places.T.numpy(), s=10, color=shades, depthshade=False)


def _sizes(config: EnergyConfig) -> tuple[int, int, int]:
    return config.lattice_width, config.lattice_height, config.lattice_depth


def _require_box(trace: FlowTrace, config: EnergyConfig) -> None:
    """Refuse, with a ValueError, a trace that leaves the lattice of `config`."""
    sizes, reached = _sizes(config), tuple(trace.position.amax(0).tolist())
    if any(cell >= size for cell, size in zip(reached, sizes, strict=True)):
        raise ValueError(
            f"config must be of the processor that ran: its lattice is {' x '.join(map(str, sizes))} cells, and the "
            f"trace reaches cell {reached}; give processor.config"
        )


def _records_of(run: FlowResult | FlowTrace, sample: int) -> FlowTrace:
    """The sample's records, levels and masses in float32, on the CPU."""
    if not isinstance(run, FlowResult | FlowTrace):
        raise TypeError(
            f"run must be a FlowResult or a FlowTrace, got {type(run).__name__}; give processor.run's result"
        )
    trace = run.trace if isinstance(run, FlowResult) else run
    if trace is None:
        raise ValueError("run has no trace; call processor.run(rows, record=True)")
    records = (trace.sample == sample).nonzero().flatten()
    if not len(records):
        samples = trace.sample.unique().tolist()
        raise ValueError(f"sample must be one of the trace's, {samples}, got {sample}")
    picked = FlowTrace(*(values.index_select(0, records).detach().cpu() for values in trace[:8]))
    return picked._replace(level=picked.level.float(), mass=picked.mass.float())
