"""The faces: embedding to sites and back.

Shapes: `B` samples, `E` embedding width, `S` sites, `C` energy channels.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import EnergyConfig

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
    """Two linear maps without bias: the input embedding to the sites' energies, the sites' energies to the output.

    Both start as isometries, the second as the transpose of the first, scaled by the embeddings' own size so that
    the mean level of the sites is 1. Until `calibrate` measured that size, embeddings of unit length are expected.
    """

    input_rms: Tensor
    output_rms: Tensor
    calibrated: Tensor

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config
        width_in, width_out = config.input_embedding_dim, config.output_embedding_dim
        basis = FACE_STARTS[config.mapping](config.num_sites, config.energy_dim, width_in, width_out)
        self.input_weight = nn.Parameter(basis[0], requires_grad=config.learn_faces)  # (S C, E in)
        self.output_weight = nn.Parameter(basis[1].T.contiguous(), requires_grad=config.learn_faces)  # (E out, S C)
        self.register_buffer("input_rms", torch.tensor(1 / math.sqrt(width_in)))
        self.register_buffer("output_rms", torch.tensor(1 / math.sqrt(width_out)))
        self.register_buffer("calibrated", torch.tensor(False))
        energies = config.num_sites * config.energy_dim
        self._input_gain = math.sqrt(energies / width_in)
        self._output_gain = math.sqrt(width_out / energies)

    def calibrate(self, inputs: Matrix, targets: Matrix) -> None:
        """Measure the RMS of the embeddings that the faces will see; the measure is part of the state dict.

        Args:
            inputs: (N, E in), in memory or read in slices.
            targets: (N, E out), likewise.

        Raises:
            ValueError: all rows are zero, so there is no size to measure.
        """
        for name, rows, buffer in (("inputs", inputs, self.input_rms), ("targets", targets, self.output_rms)):
            rms = _rms(rows)
            if rms == 0:
                raise ValueError(f"{name} holds only zeros; the faces need rows with a size")
            buffer.fill_(rms)
        self.calibrated.fill_(True)

    def to_sites(self, embeddings: Tensor) -> Tensor:
        """(B, E in) embeddings to (B, S, C) energies of the sites."""
        with torch.autocast(embeddings.device.type, enabled=False):
            energies = F.linear(embeddings / self.input_rms, self.input_weight) * self._input_gain
        return energies.view(-1, self.config.num_sites, self.config.energy_dim)

    def to_embedding(self, energies: Tensor) -> Tensor:
        """(B, S, C) energies of the sites to (B, E out) embeddings."""
        with torch.autocast(energies.device.type, enabled=False):
            return F.linear(energies.flatten(1), self.output_weight) * (self._output_gain * self.output_rms)


def _rms(rows: Matrix) -> float:
    sums = [float(rows[start : start + CHUNK].double().square().sum()) for start in range(0, len(rows), CHUNK)]
    return math.sqrt(math.fsum(sums) / (len(rows) * rows.shape[1]))


def local_start(sites: int, channels: int, width_in: int, width_out: int) -> tuple[Tensor, Tensor]:
    """Every site gets its own chunk of the embedding, spread over the channels by one orthonormal basis for all sites.

    Returns:
        (S C, E in) and (S C, E out), with orthonormal columns.
    """
    basis = torch.linalg.qr(torch.randn(channels, channels))[0]
    faces = []
    for width in (width_in, width_out):
        chunk = math.ceil(width / sites)
        whole = torch.block_diag(*[basis[:, :chunk]] * sites)
        faces.append(whole[:, :width].contiguous())
    return faces[0], faces[1]


def mixed_start(sites: int, channels: int, width_in: int, width_out: int) -> tuple[Tensor, Tensor]:
    """Every site sees a random view of the whole embedding.

    Returns:
        (S C, E in) and (S C, E out), with orthonormal columns.
    """
    basis = torch.linalg.qr(torch.randn(sites * channels, max(width_in, width_out)))[0]
    return basis[:, :width_in].contiguous(), basis[:, :width_out].contiguous()


FACE_STARTS = {"local": local_start, "mixed": mixed_start}
