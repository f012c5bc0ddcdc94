"""ONNX files of trained models: onnxruntime gives the same numbers, for any number of rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import energy_flow
from energy_flow import FlowProcessor
from energy_flow.cli import main
from energy_flow.data import make_split
from energy_flow.data.pairs import one_size
from energy_flow.integrations.onnx import INPUT, OUTPUT, export_onnx

from .strategies import build_model
from .test_laws import BUSY


def outputs_of(path: Path, rows: torch.Tensor) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(str(path)).run([OUTPUT], {INPUT: rows.numpy()})[0]


@pytest.mark.slow
def test_a_trained_model_gives_the_same_in_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    path = tmp_path / "new" / "delivery.onnx"
    main(["export", "delivery", str(path)])
    assert [file.name for file in path.parent.iterdir()] == ["delivery.onnx"]
    model = energy_flow.load("delivery")
    inputs = one_size("delivery", make_split("delivery", "test", 9, 0)).inputs[:]
    for count in (1, 2, 9):
        with torch.no_grad():
            wanted = model(inputs[:count]).numpy()
        np.testing.assert_allclose(outputs_of(path, inputs[:count]), wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_flows_that_split_give_the_same_in_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model: FlowProcessor = build_model(BUSY.replace(lattice_depth=4, initial_steps=3), seed=2, dtype=torch.float32)
    model.train()
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training
    rows = torch.randn(5, 12)
    with torch.no_grad():
        wanted = model.eval()(rows).numpy()
    largest = float(np.abs(wanted).max())  # about 35: numbers of float32 have steps of 4e-6 there
    np.testing.assert_allclose(outputs_of(tmp_path / "model.onnx", rows), wanted, rtol=0, atol=1e-5 * largest)


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["export", "delivery", str(tmp_path / "model.onnx")])
    assert stop.value.code == 2
    assert "the export needs onnx: pip install 'energy-flow[onnx]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", "delivery", str(tmp_path)])
    assert stop.value.code == 2
    assert "is a folder; give the path of a file" in capsys.readouterr().err
