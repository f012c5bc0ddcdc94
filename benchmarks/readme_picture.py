"""The picture of the README: the flows of one held-out puzzle through a lattice trained on `sudoku-4` for 400 steps.

python benchmarks/readme_picture.py docs/flows.png      (needs matplotlib; two minutes)
"""

from __future__ import annotations

import sys

import torch
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from synthetic_tasks import BATCH, CONFIG

from energy_flow import EnergyConfig, EnergyTrainer, FlowProcessor, create_processor
from energy_flow.core import FlowTrace
from energy_flow.data import TASKS, make_task
from energy_flow.data.sources import data_settings

TASK, STEPS, BRIGHTEST = "sudoku-4", 400, 4.0


def train() -> tuple[FlowProcessor, torch.Tensor, float]:
    data = make_task(TASK, STEPS * BATCH)
    config = EnergyConfig.from_dict(CONFIG | data_settings(data))
    trainer = EnergyTrainer(create_processor(config), config)
    trainer.fit(data, epochs=1)
    score = TASKS[TASK].metric(trainer.predict(data.test.inputs), data.test.targets[:])
    return trainer.processor, data.test.inputs[:1], score


def draw(trace: FlowTrace, config: EnergyConfig, title: str, path: str) -> None:
    figure = Figure(figsize=(9, 4.4))
    axes = figure.add_axes((-0.12, -0.12, 1.1, 1.2), projection="3d")
    colours, scale = colormaps["viridis"], Normalize(0, BRIGHTEST)
    for flow in trace.flow_id.unique().tolist():
        records = (trace.flow_id == flow).nonzero().flatten()
        x, y, z = trace.position[records].T.tolist()
        shades = colours(scale(trace.level[records].numpy()))
        for step in range(len(records) - 1):
            span = slice(step, step + 2)
            width = 0.5 + 3 * float(trace.mass[records[step]])
            axes.plot(z[span], x[span], y[span], color=shades[step + 1], linewidth=width)
        axes.scatter(z, x, y, s=10, color=shades, depthshade=False)
    axes.set(
        xlim=(0, config.lattice_depth - 1), ylim=(0, config.lattice_width - 1), zlim=(0, config.lattice_height - 1)
    )
    axes.set(xlabel="z: input face to output face", ylabel="x", zlabel="y")
    axes.set_box_aspect((2.4, 1, 1))
    axes.view_init(20, -68)
    figure.suptitle(title, fontsize=10, y=0.97)
    bar = figure.colorbar(ScalarMappable(scale, colours), cax=figure.add_axes((0.93, 0.25, 0.015, 0.5)))
    bar.set_label("level (RMS of the energy)")
    figure.savefig(path, dpi=110)


def main(path: str) -> None:
    processor, puzzle, score = train()
    with torch.no_grad():
        result = processor.run(puzzle, record=True)
    assert result.trace is not None
    title = f"One held-out 4 x 4 sudoku, a flow per cell and their children ({100 * score:.0f} % of the grids exact)"
    draw(result.trace, processor.config, title, path)


if __name__ == "__main__":
    main(sys.argv[1])
