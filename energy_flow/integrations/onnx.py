"""A trained model as an ONNX file (extra onnx), which onnxruntime runs without torch.

Shapes: `B` rows, `E in` and `E out` widths.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from pathlib import Path

import torch

from ..core import FlowProcessor
from ..utils.files import replace_file

INPUT, OUTPUT = "embeddings", "outputs"
MOST_ROWS = 4096  # of a batch
_INSTALL = "pip install 'energy-flow[onnx]'"


def export_onnx(model: FlowProcessor, path: str | Path) -> Path:
    """Write a model as one ONNX file that takes `embeddings` (B, E in) and gives `outputs` (B, E out), both float32.

    How many flows live depends on the rows, which no ONNX graph can follow. So the file has the static form of the
    model: every flow that may live in every step, whatever `coast` says. The outputs are the same to rounding; it is
    slower than the model. B may be anything from 1 to 4 096.

    Args:
        model: the model; for a lattice of another size give `model.in_box(box)`.
        path: the file, which is written whole or not at all.

    Returns:
        the path.

    Raises:
        ImportError: onnx or onnxscript is not installed.
    """
    for name in ("onnx", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"the export needs {name}: {_INSTALL}")
    path = Path(path)
    still = copy.deepcopy(model).to("cpu", torch.float32).eval()
    rows = torch.zeros(2, model.config.input_embedding_dim)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own parts
        program = torch.onnx.export(
            still,
            (rows,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=MOST_ROWS)},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        replace_file(path, lambda file: program.save(file, external_data=False))
    return path
