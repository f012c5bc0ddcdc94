"""The faces: embedding to sites and back.

Shapes: `B` samples, `E` embedding width, `S` sites, `C` energy channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import FACES, EnergyConfig

CHUNK = 8192  # rows whose size is measured at once


class Matrix(Protocol):
    """Rows of one width: a tensor, or what reads them from a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, width)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


class EmbeddingMapper(nn.Module):
    """Two linear maps: the input embedding to the sites' energies, the sites' energies to the output.

    They have no bias, unless `config.center_inputs` says that the inputs' measured mean is taken off what enters and a
    learned offset, zero at the start, is added to the energies.

    Both start as isometries, the second as the transpose of the first, scaled by the embeddings' own size so that
    the mean level of the sites is 1. Until `calibrate` measured that size, embeddings of unit length are expected.
    The kind of faces (`config.mapping`) says how the matrices start, and whether all sites share one pair.
    """

    input_rms: Tensor
    output_rms: Tensor
    calibrated: Tensor
    input_mean: Tensor
    input_offset: nn.Parameter

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        face = FACES[config.mapping]
        width_in, width_out = config.input_embedding_dim, config.output_embedding_dim
        start = face.start(config.num_sites, config.energy_dim, width_in, width_out)
        self.tied = face.tied
        self.input_weight = nn.Parameter(start[0], requires_grad=config.learn_faces)  # (S C, E in), tied (C, c in)
        self.output_weight = nn.Parameter(start[1].T.contiguous(), requires_grad=config.learn_faces)  # transposed
        self.register_buffer("input_rms", torch.tensor(1 / math.sqrt(width_in)))
        self.register_buffer("output_rms", torch.tensor(1 / math.sqrt(width_out)))
        self.register_buffer("calibrated", torch.tensor(0.0))  # a number, so that it can be averaged with the weights
        if config.center_inputs:
            self.register_buffer("input_mean", torch.zeros(start[0].shape[1]))  # (E in,), tied (c in,)
            self.input_offset = nn.Parameter(torch.zeros(start[0].shape[0]), requires_grad=config.learn_faces)
        energies = config.num_sites * config.energy_dim
        self._input_gain = math.sqrt(energies / width_in)
        self._output_gain = config.output_scale * math.sqrt(width_out / energies)  # tied: the same for any S

    def calibrate(self, inputs: Matrix | list[Matrix], targets: Matrix | list[Matrix]) -> None:
        """Measure the RMS of the embeddings that the faces will see, about their mean where inputs are centred.

        The measures are part of the state dict.

        Args:
            inputs: (N, E in), in memory or read in slices; or a list of such, of different widths.
            targets: (N, E out), likewise.

        Raises:
            ValueError: rows of another width, none at all, or numbers that are not finite; all rows are zero, or all
                inputs are equal where they are centred: there is no size to measure.
        """
        parts = self._checked("inputs", inputs, self.input_weight.shape[1])
        wanted = self._checked("targets", targets, self.output_weight.shape[0])
        if self.config.center_inputs:
            self.input_mean.copy_(_mean(parts, len(self.input_mean)))
            input_rms = _rms(parts, self.input_mean)
        else:
            input_rms = _rms(parts)
        output_rms = _rms(wanted)
        for name, rms, buffer in (("inputs", input_rms, self.input_rms), ("targets", output_rms, self.output_rms)):
            if not math.isfinite(rms):
                raise ValueError(f"{name} holds NaN or infinite numbers; remove these rows")
            if rms == 0:
                only = "equal rows" if name == "inputs" and self.config.center_inputs else "zeros"
                raise ValueError(f"{name} holds only {only}; the faces need rows with a size")
            buffer.fill_(rms)
        self.calibrated.fill_(1.0)

    def _checked(self, name: str, given: Matrix | list[Matrix], width: int) -> list[Matrix]:
        """Matrices of a width that the faces take: tied ones take any number of sites."""
        parts = [torch.as_tensor(one) if isinstance(one, np.ndarray) else one for one in _as_list(given)]
        for one in parts:
            shape = tuple(one.shape)
            if len(shape) != 2 or 0 in shape or (shape[1] % width if self.tied else shape[1] != width):
                wide = f"a multiple of {width}" if self.tied else width
                raise ValueError(f"{name} has shape {shape}; give (rows, width) with at least one row, width {wide}")
        return parts

    def to_sites(self, embeddings: Tensor) -> Tensor:
        """(B, E in) embeddings to (B, S, C) energies of the sites; tied faces take any number of sites."""
        with torch.autocast(embeddings.device.type, enabled=False):
            rows = embeddings.reshape(-1, self.input_weight.shape[1]) if self.tied else embeddings
            if self.config.center_inputs:
                rows = (rows - self.input_mean) / self.input_rms
                energies = F.linear(rows, self.input_weight, self.input_offset) * self._input_gain
            else:
                energies = F.linear(rows / self.input_rms, self.input_weight) * self._input_gain
        return energies.view(embeddings.shape[0], -1, self.config.energy_dim)

    def to_embedding(self, energies: Tensor) -> Tensor:
        """(B, S, C) energies of the sites to (B, E out) embeddings."""
        with torch.autocast(energies.device.type, enabled=False):
            rows = energies.to(self.output_weight.dtype).flatten(0 if self.tied else 1, 1 if self.tied else 2)
            outputs = F.linear(rows, self.output_weight) * (self._output_gain * self.output_rms)
        return outputs.view(energies.shape[0], -1)


def _as_list(given: Matrix | list[Matrix]) -> list[Matrix]:
    return given if isinstance(given, list) else [given]


def _mean(matrices: Sequence[Matrix], width: int) -> Tensor:
    """(width,) the mean of all rows, cut into pieces of `width` numbers, float64."""
    parts = [rows.double().reshape(-1, width).sum(0) for rows in _chunks(matrices)]
    return torch.stack(parts).sum(0) / (sum(len(rows) * rows.shape[1] for rows in matrices) // width)


def _rms(matrices: Sequence[Matrix], mean: Tensor | None = None) -> float:
    """The size of a number, about `mean` where there is one, over all rows cut into pieces of its length."""
    sums = []
    for rows in _chunks(matrices):
        numbers = (
            rows.double() if mean is None else rows.double().reshape(-1, len(mean)) - mean.to(rows.device).double()
        )
        sums.append(float(numbers.square().sum()))
    return math.sqrt(math.fsum(sums) / sum(len(rows) * rows.shape[1] for rows in matrices))


def _chunks(matrices: Sequence[Matrix]) -> Iterator[Tensor]:
    for rows in matrices:
        for start in range(0, len(rows), CHUNK):
            yield rows[start : start + CHUNK].detach()
