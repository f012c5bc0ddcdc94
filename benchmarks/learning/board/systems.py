"""Who takes part, as a table: what is built, and what is equal between it and the lattice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.learning.board.contests import Contest
from benchmarks.learning.matching import count_parameters, forward_flops, of_flops, of_parameters
from benchmarks.learning.rivals import (
    CellGRU,
    Contestant,
    ConvGRU,
    Course,
    InFaces,
    LatticeOff,
    LoopedTransformer,
    OverCells,
    ResidualMLP,
    Rival,
    Transformer,
    WindowMLP,
    identity_linear,
)
from benchmarks.learning.training import course_of
from energy_flow.config import EnergyConfig
from energy_flow.core import create_processor
from energy_flow.core.embedding_mapper import EmbeddingMapper

LATTICE, OFF = "lattice", "lattice off"
NETWORKS: dict[str, Callable[..., Rival]] = {  # from numbers of a cell, in and out, and a width
    "residual MLP": WindowMLP,
    "residual MLP, deep": partial(WindowMLP, blocks=4),
    "GRU": CellGRU,
    "Transformer": Transformer,
    "looped Transformer": LoopedTransformer,
    "convolutional GRU": ConvGRU,
}
OVER_ROWS: dict[str, Callable[..., nn.Module]] = {  # in their place where all rows have one size
    "residual MLP": ResidualMLP,
    "residual MLP, deep": partial(ResidualMLP, blocks=4),
}


@dataclass(frozen=True)
class System:
    """One row of a board.

    Attributes:
        name: what the tables call it.
        network: a key of `NETWORKS`, or the name where it is none of these.
        times: its budget, in those of the lattice.
        by: what the budget is of: parameters or FLOPs.
        in_faces: whether the lattice's faces are around it.
        solved: whether it is a closed form, which neither seed nor rate changes.
        one_size: whether it needs rows of one size.
    """

    name: str
    network: str
    times: float = 1.0
    by: str = "parameters"
    in_faces: bool = False
    solved: bool = False
    one_size: bool = False

    def fits(self, contest: Contest, equal_widths: bool) -> bool:
        """Whether it can take part."""
        return not (self.one_size and contest.sized) and (equal_widths or self.name != "input itself")


SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System(LATTICE, LATTICE),
        System(OFF, OFF),
        System("input itself", "input itself", solved=True, one_size=True),
        System("ridge", "ridge", solved=True),
        System("Procrustes", "Procrustes", solved=True, one_size=True),
        System("linear", "linear", one_size=True),
        *(System(name, name) for name in NETWORKS),
        System("residual MLP, 2 x parameters", "residual MLP", times=2),
        System("Transformer, 2 x parameters", "Transformer", times=2),
        System("residual MLP, FLOPs", "residual MLP", by="FLOPs"),
        System("Transformer, FLOPs", "Transformer", by="FLOPs"),
        *(System(f"{name} in the faces", name, in_faces=True) for name in list(NETWORKS)[2:]),
    )
}


def build(system: System, contest: Contest, config: EnergyConfig, rows: Tensor, flops: float | None) -> Contestant:
    """A network of the size that the system's row asks for, with the weights of the configuration's seed.

    Args:
        system: the row.
        contest: its task.
        config: of the lattice, whose size counts.
        rows: (B, E) of the lattice's own face, on which work is measured.
        flops: the work of the lattice for a row; None is that of an untrained one.
    """
    torch.manual_seed(config.seed)
    widths = config.input_embedding_dim, config.output_embedding_dim
    if system.name == OFF:
        return Contestant(LatticeOff(config))
    if system.name == "linear":
        return Contestant(identity_linear(*widths))
    processor = create_processor(config)
    if system.by == "parameters":
        parameters = round(system.times * count_parameters(processor))
        return of_parameters(partial(_of_width, system, contest, config, parameters), parameters)
    flops = system.times * (forward_flops(processor, rows) if flops is None else flops)
    make = partial(_of_width, system, contest, config, round(flops / 2))
    return of_flops(make, flops, rows.shape, at_home(config.replace(**contest.rivals)))


def at_home(config: EnergyConfig) -> Course:
    """The course at the lattice's own face, with one read-out: on it work is counted."""
    return course_of(None, config)._replace(reads=1, noise=0.0)


def _of_width(system: System, contest: Contest, config: EnergyConfig, parameters: int, width: int) -> Contestant:
    """A network of some width; whole rows have no linear map where that would be most of the parameters."""
    if system.in_faces:
        channels = config.energy_dim
        return InFaces(NETWORKS[system.network](channels, channels, width), EmbeddingMapper(config))
    widths = config.input_embedding_dim, config.output_embedding_dim
    if system.network in OVER_ROWS and not contest.sized:
        linear = 2 * widths[0] * widths[1] <= parameters
        return Contestant(OVER_ROWS[system.network](*widths, hidden=width, linear=linear))
    cell_in, cell_out = (-(-numbers // config.num_sites) for numbers in widths)
    target = None if cell_out * config.num_sites == widths[1] else widths[1]
    return OverCells(NETWORKS[system.network](cell_in, cell_out, width), cell_in, target)
