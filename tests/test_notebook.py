"""The notebook widget: it holds the viewer's page, and a browser shows it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

pytest.importorskip("anywidget")

from energy_flow import create_config, create_processor
from energy_flow.analysis import Trace
from energy_flow.integrations import notebook
from energy_flow.integrations.notebook import FlowWidget
from energy_flow.viz import Scene
from energy_flow.viz.page import page_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


@pytest.fixture(scope="module")
def trace() -> Trace:
    config = create_config(
        "tiny", input_embedding_dim=16, output_embedding_dim=16, carrier_hidden_size=8, carrier_num_layers=1
    )
    processor = create_processor(config)
    with torch.no_grad():
        return Trace.of(processor.run(torch.randn(2, 16), record=True), config)


def test_the_widget_holds_the_page_and_says_how_to_show_it(trace: Trace) -> None:
    widget = FlowWidget(trace, title="two rows", height=300)
    assert widget.page == page_html(Scene.of(trace, title="two rows"))
    assert widget.height == 300
    sent = widget.get_state()
    assert {"page", "height", "_esm"} <= sent.keys()
    assert "export default" in str(sent["_esm"])


def test_another_trace_is_shown_in_the_same_place(trace: Trace) -> None:
    widget = FlowWidget(trace)
    before, seen = widget.page, []
    widget.observe(seen.append, "page")
    widget.show(Scene.of(trace, title="another"))
    assert widget.page != before
    assert "another" in widget.page
    assert len(seen) == 1


def test_too_many_records_are_refused(trace: Trace, monkeypatch) -> None:
    monkeypatch.setattr(notebook, "NOTEBOOK_RECORDS", 3)
    with pytest.raises(ValueError, match="records, a notebook shows at most 3; give fewer samples"):
        FlowWidget(trace)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_the_flows(trace: Trace) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    widget = FlowWidget(trace, title="two rows")
    script = f"const module = {{}};{widget._esm.replace('export default', 'module.exports =')}"
    harness = (
        "const listeners = {};\n"
        f"const held = {{ page: {json.dumps(widget.page).replace('</', '<&#47;')}, height: 400 }};\n"
    ).replace("<&#47;", "<\\/")
    run = (
        "const model = { get: (name) => held[name], on: (name, call) => { listeners[name] = call; },"
        " off: (name) => { delete listeners[name]; } };\n"
        "window.stop = module.exports.render({ model, el: document.body });\n"
        "window.change = (height) => { held.height = height; listeners['change:height'](); };\n"
        "window.heard = () => Object.keys(listeners).length;\n"
    )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.set_content(f"<!DOCTYPE html><body><script>{script}{harness}{run}</script></body>")
        frame = page.frame_locator("iframe")
        frame.locator("html[data-ready]").wait_for(state="attached", timeout=60_000)
        assert frame.locator("h1").inner_text() == "two rows"
        assert frame.locator("canvas.stage").count() == 1
        page.evaluate("change(250)")
        assert page.locator("iframe").bounding_box()["height"] == 250
        page.evaluate("stop()")
        assert page.evaluate("heard()") == 0
        assert [url for url in asked if url.startswith("http")] == []
        browser.close()
