"""The page on moving a vector store, line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from energy_flow.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "vector_store.md"


def test_the_page_runs_from_its_first_line_to_its_last(tmp_path, monkeypatch, capsys) -> None:
    for package in ("faiss", "wordllama", "tokenizers"):
        pytest.importorskip(package) if package != "wordllama" else _require_weights()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("energy_flow.training.metrics.RESAMPLES", 20)
    names: dict = {}
    blocks = re.findall(r"```(python|bash)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [kind for kind, _ in blocks].count("bash") == 3
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, PAGE.name, "exec"), names)
            continue
        for line in block.splitlines():
            if line.startswith("energy-flow "):
                main(line.removeprefix("energy-flow ").split())
    printed = " ".join(capsys.readouterr().out.split())
    assert "recall@10" in printed
    assert "the vectors of width 384 are now of 256; the old one is documents.faiss.old" in printed
    assert int(re.findall(r"(\d+)% of the ten nearest", printed)[0]) > 20
    assert names["translated"].d == 256


def _require_weights() -> None:
    from importlib.util import find_spec

    if find_spec("wordllama") is None:
        pytest.skip("wordllama is not installed")
