"""The viewer as a notebook widget (extra notebook): Jupyter, VS Code, Colab and marimo show it; it asks no network."""

from __future__ import annotations

from typing import Any

from ..viz import Scene
from ..viz.page import NOTEBOOK_RECORDS, page_html
from ..viz.scene import Records

try:
    import anywidget
    import traitlets
except ImportError as missing:
    raise ImportError("the widget needs anywidget: pip install 'energy-flow[notebook]'") from missing

HEIGHT = 620  # pixels

_SCRIPT = """
function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = "Flows through the lattice";
  frame.style.cssText = "display: block; width: 100%; border: 0; border-radius: 12px";
  const fill = () => { frame.srcdoc = model.get("page"); };
  const size = () => { frame.style.height = `${model.get("height")}px`; };
  fill();
  size();
  model.on("change:page", fill);
  model.on("change:height", size);
  el.append(frame);
  return () => {
    model.off("change:page", fill);
    model.off("change:height", size);
  };
}
export default { render };
"""


class FlowWidget(anywidget.AnyWidget):
    """Flows of a few samples, to be played, turned and followed in the output of a cell.

    The page lies in a frame of its own that may run scripts and nothing else: it sees neither the notebook nor the
    network.

    Args:
        trace: every flow of some samples at every step, such as `Trace.of(result, config)`, or a `Scene`.
        title: a line above the picture; a scene has its own.
        height: of the frame, in pixels.

    Raises:
        ValueError: more records than a notebook can hold, 400 000.
    """

    _esm = _SCRIPT
    page = traitlets.Unicode(help="the whole page as HTML").tag(sync=True)
    height = traitlets.Int(HEIGHT, min=1, help="of the frame, in pixels").tag(sync=True)

    def __init__(self, trace: Records | Scene, title: str = "", height: int = HEIGHT, **more: Any) -> None:
        super().__init__(page=_page_of(trace, title), height=height, **more)

    def show(self, trace: Records | Scene, title: str = "") -> None:
        """Show another trace in the same place."""
        self.page = _page_of(trace, title)


def _page_of(trace: Records | Scene, title: str) -> str:
    scene = trace if isinstance(trace, Scene) else Scene.of(trace, title=title)
    records = len(scene.records["step"])
    if records > NOTEBOOK_RECORDS:
        raise ValueError(
            f"trace has {records:,} records, a notebook shows at most {NOTEBOOK_RECORDS:,}; give fewer samples, or "
            "write a page: energy_flow.viz.write_page(path, Scene.of(trace))"
        )
    return page_html(scene)
