"""`energy-flow train-linear`: the best linear map from the inputs of a set to its targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from ..data import load_data
from ..data.pairs import one_size
from ..data.sources import SHIPPED
from ..training.linear_map import KINDS, LinearMap
from ..utils.files import require_writable
from .report import console, print_scores
from .row_map import StoredLinearMap


@dataclass(frozen=True)
class TrainLinear:
    """Solve a linear map on the training pairs of a set; predict, evaluate and translate take it as a model.

    On pooled embeddings of texts it is as good as a trained network, and a thousand times as fast.
    """

    output: tyro.conf.Positional[Path]
    """.safetensors file for the map"""
    data: str = SHIPPED
    """shipped, a folder that `energy-flow data embed` made, or a .safetensors file with inputs and targets"""
    kind: Literal["ridge", "orthogonal"] = "ridge"
    """ridge: least squares, its penalty chosen on the validation pairs; orthogonal: a rotation, for few pairs"""
    data_seed: int = 0
    """of the split of a .safetensors file"""

    def __call__(self) -> None:
        """Solve, write, and judge on the test split."""
        output = self.output.expanduser()
        if output.suffix != ".safetensors" or output.is_dir():
            raise ValueError(f"{output}: give the path of a .safetensors file for the map")
        require_writable(output.parent, "folder of the map", output.name)
        if output.exists():
            _require_linear_map(output)
        data = load_data(self.data, self.data_seed)
        train, validation = one_size(data.name, data.train), one_size(data.name, data.validation)
        linear = KINDS[self.kind](train, validation)
        output.parent.mkdir(parents=True, exist_ok=True)
        linear.save(output)
        test = one_size(data.name, data.test)
        print_scores(StoredLinearMap(output), data, test, f"{data.name}: test split, {self.kind} map")
        console.print(f"wrote {output}")


def _require_linear_map(path: Path) -> None:
    """Refuse, with a ValueError, to replace a file that is no linear map."""
    try:
        LinearMap.load(path)
    except ValueError as error:
        raise ValueError(
            f"{path} holds something else than a linear map, which would be lost; give a new file"
        ) from error
