"""What is solved and not trained. Shapes: `N` rows, `E` input width, `T` target width, `w` numbers of a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from energy_flow.data import PairSet
from energy_flow.data.pairs import Pairs, Size, parts_of
from energy_flow.training.linear_map import solve_ridge, with_constant
from energy_flow.utils import batch_slices

from .windows import RADIUS, windows

CHUNK = 2048


def ridge(train_pairs: PairSet, validation: PairSet, inputs: Tensor) -> Tensor:
    """(N, T) least squares with a constant; the penalty is the one of least squared error on the validation split."""
    weights, _ = solve_ridge(*(partial(_whole, pairs) for pairs in (train_pairs, validation)))
    return (with_constant(inputs) @ weights).float()


@dataclass(frozen=True, eq=False)
class WindowRidge:
    """The same for cells, of faces of any size: from what lies around a cell to its target.

    Attributes:
        weights: (w + 1, k).
        cell_in: c.
    """

    weights: Tensor
    cell_in: int

    @classmethod
    def solve(cls, train_pairs: Pairs, validation: Pairs, cell_in: int, cell_out: int) -> WindowRidge:
        """Find the weights, and the penalty as `ridge` does."""
        weights, _ = solve_ridge(*(partial(_cells, pairs, cell_in, cell_out) for pairs in (train_pairs, validation)))
        return cls(weights, cell_in)

    def __call__(self, rows: Tensor, face: Size) -> Tensor:
        """(N, E) rows of a face to (N, T)."""
        around = _windows_of(rows, self.cell_in, face)
        return (with_constant(around) @ self.weights).float().view(len(rows), -1)


def procrustes(train_pairs: PairSet, inputs: Tensor) -> Tensor:
    """The orthogonal map of least squared error (Schönemann 1966); semi-orthogonal where the widths differ."""
    left, _, right = torch.linalg.svd(train_pairs.inputs[:].T @ train_pairs.targets[:], full_matrices=False)
    return inputs @ left @ right


def identity_linear(width_in: int, width_out: int) -> nn.Linear:
    """A linear map that starts as the identity, as far as the widths allow."""
    model = nn.Linear(width_in, width_out)
    nn.init.eye_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def _whole(pairs: PairSet) -> Iterable[tuple[Tensor, Tensor]]:
    yield pairs.inputs[:], pairs.targets[:]


def _cells(pairs: Pairs, cell_in: int, cell_out: int) -> Iterable[tuple[Tensor, Tensor]]:
    """What lies around every cell, (N S, w), and its target, (N S, k)."""
    for part in parts_of(pairs):
        assert part.face is not None  # of cells
        for rows in batch_slices(len(part), CHUNK):
            yield _windows_of(part.inputs[rows], cell_in, part.face), part.targets[rows].reshape(-1, cell_out)


def _windows_of(rows: Tensor, cell_in: int, face: Size) -> Tensor:
    return windows(rows.unflatten(1, (-1, cell_in)), face, RADIUS).flatten(0, 1)
