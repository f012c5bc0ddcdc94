"""A linear map from one space of embeddings to another, solved and not trained.

Shapes: `N` pairs, `E` input width, `T` target width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..data.pairs import PairSet
from ..data.stored_rows import CHUNK
from ..utils.files import replace_file

RIDGES = tuple(10.0**exponent for exponent in range(-3, 5))  # for inputs of length 1; for others by their size
FORMAT = "energy-flow linear map 1"

Parts = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # (N, E) inputs and (N, T) targets, part by part


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Rows to `rows @ weight + bias`.

    Attributes:
        weight: (E, T) float32.
        bias: (T,) float32.
        card: what it was made of, for people; text and numbers.
    """

    weight: Tensor
    bias: Tensor
    card: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, E) to (N, T) float32."""
        return torch.addmm(self.bias, rows.float(), self.weight)

    def save(self, path: Path) -> None:
        """Write a `.safetensors` file, whole or not at all."""
        metadata = {"format": FORMAT, "card": json.dumps(dict(self.card))}
        tensors = {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}
        replace_file(path, lambda new: save_file(tensors, new, metadata))

    @classmethod
    def load(cls, path: Path) -> LinearMap:
        """Read what `save` wrote.

        Raises:
            ValueError: no such file, or no linear map.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give a linear map that `energy-flow train-linear` wrote")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"{path}: not a linear map; give a file that `energy-flow train-linear` wrote")
                return cls(file.get_tensor("weight"), file.get_tensor("bias"), json.loads(metadata["card"]))
        except SafetensorError as error:
            raise ValueError(f"{path}: not a whole safetensors file ({error}); give another copy") from error


def fit_ridge(train: PairSet, validation: PairSet) -> LinearMap:
    """Least squares with a constant; the penalty is the one of least squared error on the validation pairs.

    It is times the mean square of the inputs' lengths: a map does not depend on the unit of the inputs.
    """
    weights, penalty = solve_ridge(partial(_chunks_of, train), partial(_chunks_of, validation))
    return LinearMap(
        weights[:-1].float().contiguous(), weights[-1].float(), _card("ridge", train) | {"penalty": penalty}
    )


def fit_orthogonal(train: PairSet) -> LinearMap:
    """Between the means, the orthogonal map of least squared error (Schönemann 1966); it keeps lengths and angles.

    Where the widths differ it is semi-orthogonal.
    """
    sums, cross, count = [torch.zeros(()).double()] * 2, torch.zeros(()).double(), len(train)
    for rows, targets in _chunks_of(train):
        sums = [total + part.double().sum(0) for total, part in zip(sums, (rows, targets), strict=True)]
        cross = cross + rows.double().T @ targets.double()
    given, wanted = (total / count for total in sums)
    left, _, right = torch.linalg.svd(cross - count * torch.outer(given, wanted), full_matrices=False)
    weight = left @ right
    return LinearMap(weight.float().contiguous(), (wanted - given @ weight).float(), _card("orthogonal", train))


KINDS: dict[str, Callable[[PairSet, PairSet], LinearMap]] = {
    "ridge": fit_ridge,
    "orthogonal": lambda train, _: fit_orthogonal(train),
}


def solve_ridge(train: Parts, validation: Parts) -> tuple[Tensor, float]:
    """(E + 1, T) float64 weights, the last row the constant, and the penalty that is best on the validation parts."""
    gram, moments = _moments(train)
    squares = gram.diagonal()
    size = (squares[:-1].sum() / squares[-1]).sqrt()  # of the inputs; the last column has a one for each
    scale = torch.full_like(squares, 1 / float(size) if size > 0 else 1.0)
    scale[-1] = 1
    gram, moments = gram * scale[:, None] * scale, moments * scale[:, None]  # of inputs whose size is 1
    penalised = torch.ones_like(squares)
    penalised[-1] = 0  # the constant is free
    solutions = [
        (scale[:, None] * torch.linalg.solve(gram + torch.diag(penalty * penalised), moments), penalty)
        for penalty in RIDGES
    ]

    def error(solution: tuple[Tensor, float]) -> float:
        return sum(float((with_constant(rows) @ solution[0] - wanted).square().sum()) for rows, wanted in validation())

    return min(solutions, key=error)


def with_constant(rows: Tensor) -> Tensor:
    """(N, E) rows to (N, E + 1) float64 with a one at the end."""
    return torch.cat((rows, rows.new_ones(len(rows), 1)), dim=1).double()


def _moments(parts: Parts) -> tuple[Tensor, Tensor]:
    """What rows have in common with themselves, (E + 1, E + 1), and with the targets, (E + 1, T)."""
    found = [torch.zeros(()).double(), torch.zeros(()).double()]
    for rows, targets in parts():
        constant = with_constant(rows)
        found = [found[0] + constant.T @ constant, found[1] + constant.T @ targets.double()]
    return found[0], found[1]


def _chunks_of(pairs: PairSet) -> Iterable[tuple[Tensor, Tensor]]:
    for start in range(0, len(pairs), CHUNK):
        rows = slice(start, start + CHUNK)
        yield pairs.inputs[rows], pairs.targets[rows]


def _card(kind: str, train: PairSet) -> dict[str, Any]:
    return {"kind": kind, "pairs": len(train), "widths": [train.inputs.shape[1], train.targets.shape[1]]}
