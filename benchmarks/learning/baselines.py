"""What the lattice is compared with: closed forms, and small networks that train on the same rows with the same loss.

Shapes: `N` rows, `B` rows of a batch, `E` input width, `T` target width, `S` chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from energy_flow.config import EnergyConfig
from energy_flow.core import FlowProcessor
from energy_flow.core.embedding_mapper import EmbeddingMapper
from energy_flow.data import PairSet
from energy_flow.training.losses import total_loss
from energy_flow.training.optimizers import create_optimizer
from energy_flow.training.schedule import learning_rate_factor
from energy_flow.utils import batch_slices, epoch_order

RIDGES = tuple(10.0**exponent for exponent in range(-3, 5))
HEADS = 4


class ResidualMLP(nn.Module):
    """A linear map, and beside it a hidden layer with residual blocks."""

    def __init__(self, width_in: int, width_out: int, hidden: int, blocks: int = 1) -> None:
        super().__init__()
        self.skip = nn.Linear(width_in, width_out)
        self.enter = nn.Linear(width_in, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.leave = nn.Linear(hidden, width_out)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.enter(rows))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.skip(rows) + self.leave(hidden)


class OverChunks(nn.Module):
    """Cuts a row into S equal chunks, as the lattice's local faces do, and reads one chunk of the target from each."""

    def __init__(self, width_in: int, width_out: int, chunks: int) -> None:
        super().__init__()
        self.chunks, self.width_out = chunks, width_out
        self.chunk_in, self.chunk_out = math.ceil(width_in / chunks), math.ceil(width_out / chunks)

    def forward(self, rows: Tensor) -> Tensor:
        padded = nn.functional.pad(rows, (0, self.chunks * self.chunk_in - rows.shape[1]))
        read = self.read(padded.view(len(rows), self.chunks, self.chunk_in))
        return read.flatten(1)[:, : self.width_out]

    def read(self, chunks: Tensor) -> Tensor:
        raise NotImplementedError


class ChunkGRU(OverChunks):
    """A bidirectional GRU of two layers that reads the chunks one after the other."""

    def __init__(self, width_in: int, width_out: int, chunks: int, hidden: int) -> None:
        super().__init__(width_in, width_out, chunks)
        self.gru = nn.GRU(self.chunk_in, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.leave = nn.Linear(2 * hidden, self.chunk_out)

    def read(self, chunks: Tensor) -> Tensor:
        return self.leave(self.gru(chunks)[0])


class ChunkTransformer(OverChunks):
    """Three encoder layers of a Transformer with learned places; every chunk attends to every other."""

    def __init__(self, width_in: int, width_out: int, chunks: int, hidden: int) -> None:
        super().__init__(width_in, width_out, chunks)
        self.enter = nn.Linear(self.chunk_in, hidden)
        self.place = nn.Parameter(0.02 * torch.randn(chunks, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, HEADS, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.leave = nn.Linear(hidden, self.chunk_out)

    def read(self, chunks: Tensor) -> Tensor:
        return self.leave(self.layers(self.enter(chunks) + self.place))


class LatticeOff(nn.Module):
    """The faces alone: what the sites are given goes straight to the output. The lattice adds what this lacks."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.mapper = EmbeddingMapper(config)

    def forward(self, rows: Tensor) -> Tensor:
        return self.mapper.to_embedding(self.mapper.to_sites(rows))


def identity_linear(width_in: int, width_out: int) -> nn.Linear:
    """A linear map that starts as the identity, as far as the widths allow."""
    model = nn.Linear(width_in, width_out)
    nn.init.eye_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def closest(build: Callable[[int], nn.Module], cost: Callable[[nn.Module], float], budget: float) -> nn.Module:
    """The model of the width (a multiple of the number of heads) whose cost is nearest to the budget."""
    low, high = 1, 2
    while cost(build(HEADS * high)) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(build(HEADS * middle)) < budget else (low, middle)
    return min((build(HEADS * one) for one in (low, high)), key=lambda model: abs(cost(model) - budget))


def count_parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def forward_flops(model: nn.Module, rows: Tensor) -> float:
    """Floating-point operations of the products of a forward pass, per row."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.train()(rows)
    return counter.get_total_flops() / len(rows)


def train(model: nn.Module, pairs: PairSet, config: EnergyConfig, epochs: int) -> None:
    """The trainer's loop for any module: the same order, schedule, loss, optimizer and clipping."""
    mapper = getattr(model, "mapper", None)
    if isinstance(mapper, EmbeddingMapper):
        mapper.calibrate(pairs.inputs, pairs.targets)
    optimizer = create_optimizer(model, config)
    batches = list(batch_slices(len(pairs), config.batch_size))
    model.train()
    for epoch in range(1, epochs + 1):
        order = epoch_order(len(pairs), config.seed, epoch)
        for number, rows in enumerate(batches):
            factor = learning_rate_factor((epoch - 1) * len(batches) + number, epochs * len(batches), config)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * factor
            inputs, targets = pairs.batch(order[rows])
            loss, _ = total_loss(model(inputs), targets, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimizer.step()


@torch.no_grad()
def predict(model: nn.Module, rows: Any) -> Tensor:
    """(N, E) to (N, T), in batches."""
    model.eval()
    return torch.cat([model(rows[start : start + 1024]) for start in range(0, len(rows), 1024)])


def validation_loss(outputs: Tensor, pairs: PairSet, config: EnergyConfig) -> float:
    """The mean loss of batches of the size that training has."""
    losses = [
        float(total_loss(outputs[rows], pairs.targets[rows], config)[0]) * len(outputs[rows])
        for rows in batch_slices(len(pairs), config.batch_size)
    ]
    return sum(losses) / len(pairs)


def ridge(train_pairs: PairSet, validation: PairSet, inputs: Tensor) -> Tensor:
    """Least squares with a constant; the penalty is the one of least squared error on the validation split."""

    def with_constant(rows: Tensor) -> Tensor:
        return torch.cat((rows, torch.ones(len(rows), 1)), dim=1).double()

    rows, targets = with_constant(train_pairs.inputs[:]), train_pairs.targets[:].double()
    gram, moments, identity = rows.T @ rows, rows.T @ targets, torch.eye(rows.shape[1], dtype=torch.float64)
    held_out, wanted = with_constant(validation.inputs[:]), validation.targets[:].double()
    solutions = [torch.linalg.solve(gram + penalty * identity, moments) for penalty in RIDGES]
    best = min(solutions, key=lambda weights: float((held_out @ weights - wanted).square().mean()))
    return (with_constant(inputs) @ best).float()


def procrustes(train_pairs: PairSet, inputs: Tensor) -> Tensor:
    """The orthogonal map of least squared error (Schönemann 1966); semi-orthogonal where the widths differ."""
    left, _, right = torch.linalg.svd(train_pairs.inputs[:].T @ train_pairs.targets[:], full_matrices=False)
    return inputs @ left @ right


def flow_steps(processor: FlowProcessor, rows: Tensor) -> float:
    """Steps that flows take, per row."""
    with torch.no_grad():
        return float(processor.eval().run(rows).stats.live.sum()) / len(rows)
