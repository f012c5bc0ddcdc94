"""`energy-flow export`: a trained model as an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..config import Box
from ..integrations.onnx import export_onnx
from ..models import load
from ..utils.files import require_writable
from .found_models import model_folder
from .report import console


@dataclass(frozen=True)
class Export:
    """Write a trained model as an ONNX file, which onnxruntime runs without torch (extra onnx)."""

    model: tyro.conf.Positional[Path]
    """run or model folder, or a name that `energy-flow list` shows"""
    output: tyro.conf.Positional[Path]
    """file to write, such as model.onnx"""
    box: str | None = None
    """width, height and depth of another lattice to run the weights in, such as 9x9x84"""

    def __call__(self) -> None:
        """Write the file."""
        output = self.output.expanduser()
        require_writable(output.parent, "folder of the file", output.name)
        if output.is_dir():
            raise ValueError(f"{output} is a folder; give the path of a file, such as model.onnx")
        if output.exists() and output.suffix != ".onnx":
            raise ValueError(
                f"{output} exists, and its name is not that of an ONNX file; give a path such as model.onnx"
            )
        model = load(model_folder(self.model))
        model = model if self.box is None else model.in_box(Box.parse(self.box))
        export_onnx(model, output)
        console.print(f"wrote {output}: {output.stat().st_size / 1e6:,.1f} MB, for a box of {model.config.box}")
