"""The picture of the README: the flows of one held-out definition through a trained `tiny` lattice.

python benchmarks/readme_picture.py RUN/best docs/flows.png      (needs matplotlib)
"""

from __future__ import annotations

import sys

import torch
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from energy_flow import load_model
from energy_flow.data import load_shipped
from energy_flow.text import NearestTexts


def main(model: str, path: str, row: int = 0) -> None:
    data, processor = load_shipped(), load_model(model)
    with torch.no_grad():
        result = processor.run(data.test.inputs[row : row + 1], record=True)
    assert data.bank is not None
    assert result.trace is not None
    nearest = NearestTexts(data.bank.texts, data.bank.embeddings)(result.output, 3)[0]
    trace, config = result.trace, processor.config
    figure = Figure(figsize=(9, 4.6))
    axes = figure.add_subplot(projection="3d")
    colours = colormaps["viridis"]
    for flow in trace.flow_id.unique().tolist():
        records = (trace.flow_id == flow).nonzero().flatten()
        x, y, z = trace.position[records].T.tolist()
        level = trace.level[records]
        for step in range(len(records) - 1):
            colour = colours(min(1.0, float(level[step + 1]) / 2))
            width = 0.6 + 2 * float(trace.mass[records[step]])
            axes.plot(z[step : step + 2], x[step : step + 2], y[step : step + 2], color=colour, linewidth=width)
        axes.scatter(z, x, y, s=9, color=[colours(min(1.0, float(one) / 2)) for one in level], depthshade=False)
    axes.set(
        xlim=(0, config.lattice_depth - 1), ylim=(0, config.lattice_width - 1), zlim=(0, config.lattice_height - 1)
    )
    axes.set(xlabel="z: input face to output face", ylabel="x", zlabel="y")
    axes.set_box_aspect((2.2, 1, 1))
    axes.view_init(18, -62)
    words = ", ".join(match.text for match in nearest)
    axes.set_title(f"“{data.test.input_texts[row]}”  →  {words}   (wanted: {data.test.target_texts[row]})", fontsize=9)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 2), colours), ax=axes, shrink=0.6, pad=0.08)
    bar.set_label("level (RMS of the energy)")
    figure.savefig(path, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
