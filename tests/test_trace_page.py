"""The page that `energy-flow trace` writes beside the table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from energy_flow import create_config, create_processor
from energy_flow.data import make_task
from energy_flow.data.sources import data_settings
from energy_flow.training.model_folder import save_model

pytest.importorskip("pyarrow")
pytest.importorskip("tyro")

from energy_flow.cli import main


def trace(folder: Path, task: str, preset: str, *more: str) -> dict[str, Any]:
    """The scene in the page of a random model."""
    data = make_task(task, 8, 8)
    save_model(create_processor(create_config(preset, carrier_hidden_size=8, **data_settings(data))), folder / "best")
    page = folder / "pages" / "flows.html"
    main(["trace", str(folder), "--data", task, "--device", "cpu", "--page", str(page), *more])
    held = re.search(r'id="scene">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)
    assert held is not None
    return json.loads(held[1])


def test_the_page_has_the_samples_with_their_classes_and_answers(tmp_path, capsys) -> None:
    scene = trace(tmp_path, "delivery", "pointer", "--samples", "5", "2", "7")
    assert "wrote" in capsys.readouterr().out
    assert [sample["name"] for sample in scene["samples"]] == ["row 2", "row 5", "row 7"]
    assert {sample["label"] for sample in scene["samples"]} <= set(range(4))
    assert len(scene["classes"]) > 1
    assert [sample["answer"]["kind"] for sample in scene["samples"]] == ["numbers"] * 3


def test_each_answer_is_that_of_its_own_sample(tmp_path) -> None:
    scene = trace(tmp_path, "maze", "grid", "--samples", "3", "1", "--rows", "4", "--box", "3x3x6")
    alone = trace(tmp_path, "maze", "grid", "--samples", "3", "--rows", "4", "--box", "3x3x6")
    assert scene["box"] == [3, 3, 6]
    assert scene["samples"][1]["answer"] == alone["samples"][0]["answer"]
    assert scene["samples"][0]["answer"]["given"] != alone["samples"][0]["answer"]["given"]


def test_more_samples_than_a_page_shows_are_refused(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        trace(tmp_path, "maze", "grid", "--samples", "-1", "--rows", "40", "--box", "3x3x6")
    assert stop.value.code == 2
    assert "--page shows at most 32 samples, and --samples asks for 40" in capsys.readouterr().err


def test_commands_need_no_server() -> None:
    code = (
        "import sys\n"
        "for name in ('fastapi', 'uvicorn', 'pydantic', 'starlette'):\n"
        "    sys.modules[name] = None\n"
        "import energy_flow.cli, energy_flow.cli.trace_page\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
