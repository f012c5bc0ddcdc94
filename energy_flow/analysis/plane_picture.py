"""How many channels there are from face to face, as a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence


def planes_png(planes: Mapping[str, Sequence[float | None]], names: Mapping[str, str]) -> str:
    """The effective channels of every plane, a line for each system, as a `data:` URL of a PNG.

    Args:
        planes: by the system, a value for every plane, None where nobody passed; the input face is left out.
        names: of the systems, as people read them.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'energy-flow[viz]'") from error
    figure = Figure(figsize=(8, 3), dpi=110, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    for number, (system, values) in enumerate(planes.items()):
        found = [float("nan") if value is None else value for value in values]
        style = ("-", "--", "-.", ":")[number % 4]  # lines often lie on each other
        axes.plot(range(1, len(found)), found[1:], style, label=names[system], marker="o", markersize=3)
    axes.set(xlabel="z (cells)", ylabel="effective channels, share of sites", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    held = io.BytesIO()
    figure.savefig(held, format="png")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()
