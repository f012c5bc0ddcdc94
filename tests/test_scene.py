"""A trace becomes a scene and a page: nothing is lost on the way, and no text in it becomes markup or script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow import create_config, create_processor
from energy_flow.analysis import Trace
from energy_flow.core.flows import ARRIVED, BORN, LAUNCHED, MOVING
from energy_flow.viz import Answer, Scene, page_html, trace_html, write_page
from energy_flow.viz.page import static_text
from energy_flow.viz.scene import PACKED

EVIL = "</script><script>alert(1)</script><!-- & ' \" \u2028"


class Records(NamedTuple):
    """Two flows of sample 5, one of them a child, and one of sample 2."""

    box: tuple[int, int, int] = (4, 3, 5)
    sites: tuple[int, int] = (2, 1)
    step: Tensor = torch.tensor([0, 0, 1, 1, 1, 2])
    sample: Tensor = torch.tensor([5, 2, 5, 5, 2, 5])
    flow_id: Tensor = torch.tensor([0, 0, 0, 2, 0, 2])
    parent_id: Tensor = torch.tensor([-1, -1, -1, 0, -1, 0])
    position: Tensor = torch.tensor([[1, 1, 0], [3, 1, 0], [1.5, 1, 4], [1, 1, 0], [3, 1, 2], [2, 2, 3]])
    level: Tensor = torch.tensor([1.0, 0.5, 1.25, 0.25, 0.75, 0.5], dtype=torch.float64)
    mass: Tensor = torch.tensor([1.0, 1.0, 0.75, 0.25, 1.0, 0.25], dtype=torch.bfloat16)
    event: Tensor = torch.tensor([LAUNCHED, LAUNCHED, ARRIVED, BORN, MOVING, MOVING])


def unpack(scene: Scene) -> dict[str, np.ndarray]:
    records = scene.to_dict()["records"]
    return {name: np.frombuffer(base64.b64decode(records[name]), kind) for name, kind in PACKED.items()}


def test_every_number_of_the_trace_is_in_the_scene() -> None:
    records = Records()
    found = unpack(Scene.of(records))
    assert found["step"].tolist() == records.step.tolist()
    assert found["sample"].tolist() == [1, 0, 1, 1, 0, 1]  # numbered from 0, in the order of their numbers
    assert found["flow"].tolist() == records.flow_id.tolist()
    assert found["parent"].tolist() == records.parent_id.tolist()
    assert np.array_equal(np.stack([found[axis] for axis in "xyz"], axis=1), records.position.numpy())
    assert found["level"].tolist() == records.level.tolist()
    assert found["mass"].tolist() == records.mass.tolist()
    assert found["event"].tolist() == records.event.tolist()


def test_records_are_put_in_order_of_time_and_stay_in_order_within_a_step() -> None:
    records = Records()
    turned = records._replace(
        **{
            name: getattr(records, name).flip(0)
            for name in ("step", "sample", "flow_id", "parent_id", "position", "level", "mass", "event")
        },
    )
    found = unpack(Scene.of(turned))
    assert found["step"].tolist() == [0, 0, 1, 1, 1, 2]
    assert found["level"].tolist() == [0.5, 1.0, 0.75, 0.25, 1.25, 0.5]


def test_a_run_of_a_model_becomes_a_scene() -> None:
    config = create_config("tiny", carrier_hidden_size=8, carrier_num_layers=1)
    with torch.no_grad():
        result = create_processor(config).run(torch.randn(2, config.input_embedding_dim), record=True)
    trace = Trace.of(result, config)
    scene = Scene.of(trace)
    assert (scene.box, scene.sites) == ((12, 12, 8), (4, 4))
    assert [note.name for note in scene.samples] == ["sample 0", "sample 1"]
    assert len(scene.records["step"]) == len(trace)
    assert trace._repr_html_() == trace_html(trace)


def test_notes_belong_to_samples_by_their_numbers_in_the_trace() -> None:
    answer = Answer("numbers", [1], [[0.5]])
    scene = Scene.of(Records(), names={5: "five"}, labels={2: 1}, classes=["no", "yes"], answers={5: answer})
    assert [(note.name, note.label, note.answer) for note in scene.samples] == [
        ("sample 2", 1, None),
        ("five", None, answer),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": {3: "three"}}, r"names: the trace has no sample 3; its samples are \[2, 5\]"),
        ({"labels": {2: 1}, "classes": ["one"]}, "labels: 1 has no name among 1 classes"),
        ({"labels": {2: -1}}, "labels: -1 is below 0"),
        ({"labels": {2: 1000}}, "labels: 1000 is no class among few"),
    ],
)
def test_a_wrong_note_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scene.of(Records(), **options)


def test_an_empty_trace_and_too_many_steps_are_refused() -> None:
    empty = {name: getattr(Records(), name)[:0] for name in ("step", "sample")}
    with pytest.raises(ValueError, match="trace has no record"):
        Scene.of(Records()._replace(**empty))
    with pytest.raises(ValueError, match="trace has 70000 steps; a page shows at most 65535"):
        Scene.of(Records()._replace(step=torch.tensor([0, 0, 1, 1, 1, 70_000])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "poem"}, "kind = 'poem'; give one of texts, cells, numbers"),
        ({"reads": []}, "1 steps, 0 reads and 0 numbers of the curve"),
        ({"curve": [1.0, 2.0]}, "1 steps, 1 reads and 2 numbers of the curve"),
        ({"kind": "cells"}, "face = None; cells have columns and rows"),
        ({"drawing": "oil"}, "drawing = 'oil'"),
    ],
)
def test_a_wrong_answer_is_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Answer(**({"kind": "numbers", "steps": [1], "reads": [[0.0]]} | wrong))


def test_the_page_holds_all_it_needs_and_its_policy_names_its_own_script_and_style(tmp_path) -> None:
    path = write_page(tmp_path / "deep" / "page.html", Scene.of(Records(), title="A title"))
    page = path.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert inside is not None
        named = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{named}'" in policy[1]
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "<title>A title</title>" in page


def test_no_text_of_the_data_becomes_markup() -> None:
    scene = Scene.of(Records(), title=EVIL, names={5: EVIL})
    page = page_html(scene)
    assert page.count("<script") == 2 + page_html(Scene.of(Records())).count("<script") - 2
    assert "<script>alert" not in page
    held = re.search(r'id="scene">(.*?)</script>', page, re.S)
    assert held is not None
    assert json.loads(held[1])["samples"][1]["name"] == EVIL


def test_a_notebook_gets_a_frame_with_the_page_or_a_sentence() -> None:
    frame = trace_html(Records(), title="Mine", height=300)
    held = re.search(r'srcdoc="([^"]+)"', frame)
    assert held is not None
    assert html.unescape(held[1]) == page_html(Scene.of(Records(), title="Mine"))
    assert 'sandbox="allow-scripts"' in frame
    many = Records()._replace(step=torch.zeros(400_001, dtype=torch.int64))
    assert trace_html(many).startswith("<p>400,001 records are too many")


def test_the_code_of_the_page_on_the_viewer_runs_as_written(tmp_path, monkeypatch) -> None:
    text = (Path(__file__).parent.parent / "docs" / "viewer.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(block, {})
    assert "Three samples" in (tmp_path / "flows.html").read_text(encoding="utf-8")


def test_the_bundle_that_is_shipped_was_built_from_these_sources() -> None:
    folder = Path(__file__).parent.parent / "viewer"
    names = sorted(["build.mjs", "package-lock.json", *(f"src/{path.name}" for path in (folder / "src").iterdir())])
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n".encode() + (folder / name).read_bytes())
    assert f"sources {digest.hexdigest()}" in static_text("viewer.js")[:200], "build it: npm ci && npm run build"
