"""A data set by its name: the shipped one, a synthetic task, or a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .pair_folder import load_pair_folder
from .pairs import PairData, PairSet, check_embeddings
from .shipped import load_shipped
from .tasks import TASKS, make_task

SHIPPED = "shipped"
TASK_ROWS = 50_000  # training rows of a synthetic task that is asked for by name


def load_data(source: str, seed: int = 0) -> PairData:
    """Load a data set.

    Args:
        source: `shipped`; the name of a synthetic task; the folder of a pair set that `energy-flow data embed` made;
            or the path of a `.safetensors` file with the matrices
            `inputs` (N, E in) and `targets` (N, E out), split at random: 80 % train, 10 % validation, 10 % test.
        seed: of the random parts.

    Raises:
        ValueError: nothing of this name, or the file is not what it should be.
    """
    if source == SHIPPED:
        return load_shipped()
    if source in TASKS:
        return make_task(source, TASK_ROWS, seed=seed)
    path = Path(source)
    if path.is_dir():
        return load_pair_folder(path)
    if not path.is_file():
        raise ValueError(f"data = {source!r}: neither a file, nor a folder, nor one of {', '.join((SHIPPED, *TASKS))}")
    matrices = load_matrices(path, ("inputs", "targets"))
    return _split(path.stem, PairSet(matrices["inputs"].float(), matrices["targets"].float()), seed)


def data_settings(source: str, data: PairData) -> dict[str, Any]:
    """The fields of the configuration that a data set decides: its widths, and what a task needs."""
    widths = {"input_embedding_dim": data.train.inputs.shape[1], "output_embedding_dim": data.train.targets.shape[1]}
    return widths | dict(TASKS[source].settings if source in TASKS else {})


def load_matrices(path: Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Read the named floating matrices of a `.safetensors` file.

    Raises:
        ValueError: no such file, not a safetensors file, or a matrix is missing or is no set of embeddings.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a .safetensors file with {' and '.join(names)}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a safetensors file ({error}); write it with safetensors.torch.save_file"
        ) from error
    for name in names:
        if name not in tensors:
            raise ValueError(
                f"{path}: holds {', '.join(tensors) or 'nothing'}, but not {name!r}; add the matrix {name!r}"
            )
        check_embeddings(f"{path}: {name}", tensors[name])
    return {name: tensors[name] for name in names}


def _split(name: str, pairs: PairSet, seed: int) -> PairData:
    if len(pairs) < 10:
        raise ValueError(f"{name} has {len(pairs)} pairs; three splits need at least 10")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    tenth = len(pairs) // 10
    train, validation, test = (
        PairSet(pairs.inputs.index_select(0, rows), pairs.targets.index_select(0, rows))
        for rows in order.split((len(pairs) - 2 * tenth, tenth, tenth))
    )
    return PairData(name, train, validation, test)
