"""What a command sends rows through: a trained lattice, or a linear map. Shapes: `N` rows, `E in`, `E out` widths."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from ..config import Box
from ..training import EnergyTrainer
from ..training.linear_map import LinearMap
from ..training.model_folder import CONFIG, WEIGHTS
from ..utils.files import sha256_of

ROWS = 8192  # that are sent through at once, about


class RowMap(Protocol):
    """Rows to rows."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def widths(self) -> tuple[int, int]:
        """Of inputs and outputs."""
        ...

    @property
    def block(self) -> int:
        """Rows at once, for which a model runs in whole batches."""
        ...

    @property
    def made_of(self) -> dict[str, str]:
        """Checksums of its files."""
        ...

    def __call__(self, rows: Tensor, box: Box | None = None) -> Tensor:
        """(N, E in) to (N, E out) float32 on the CPU."""
        ...


class LatticeMap:
    """A trained model.

    Args:
        folder: where it lies.
        trainer: of it.
        box: the lattice to run in, where a call names no other; None is its own.

    Raises:
        ValueError: the model cannot run in this box.
    """

    name = "lattice"

    def __init__(self, folder: Path, trainer: EnergyTrainer, box: Box | None = None) -> None:
        self.trainer, self.box = trainer, box
        config = trainer.config if box is None else trainer.processor.in_box(box).config
        self.widths = (config.input_embedding_dim, config.output_embedding_dim)
        self.block = config.batch_size * max(1, ROWS // config.batch_size)
        self._folder = folder

    @property
    def made_of(self) -> dict[str, str]:
        """Checksums of weights and configuration, and the box where it is another than theirs."""
        files = {name: sha256_of(self._folder / name) for name in (WEIGHTS, CONFIG)}
        return files if self.box is None else files | {"box": str(self.box)}

    def __call__(self, rows: Tensor, box: Box | None = None) -> Tensor:
        """Run the model; see `RowMap`."""
        return self.trainer.predict(rows, box or self.box)


class StoredLinearMap:
    """A linear map that `train-linear` wrote.

    Args:
        path: the file.
    """

    name = "linear map"
    block = ROWS

    def __init__(self, path: Path) -> None:
        self._map, self._path = LinearMap.load(path), path
        given, wanted = self._map.weight.shape
        self.widths = (given, wanted)

    @property
    def made_of(self) -> dict[str, str]:
        """The checksum of the file."""
        return {"linear": sha256_of(self._path)}

    def __call__(self, rows: Tensor, box: Box | None = None) -> Tensor:
        """Multiply; a box makes no difference to a linear map."""
        return self._map(rows)


def require_width(what: str, width: int, row_map: RowMap, box: Box | None = None) -> None:
    """Refuse, with a ValueError, rows of another width than the model takes in this box; by default in its own."""
    wanted = row_map.widths[0]
    if box is not None and isinstance(row_map, LatticeMap):
        wanted = row_map.trainer.config.in_box(box).input_embedding_dim
    if width != wanted:
        raise ValueError(f"{what} has width {width}, the model takes {wanted}; give rows of its width")
