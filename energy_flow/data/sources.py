"""A data set by its name: the shipped one, a registered task, or a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .checked_rows import check_embeddings
from .pair_folder import load_pair_folder
from .pairs import PairData, PairSet, parts_of
from .shipped import SHIPPED, load_shipped
from .stored_rows import IN_MEMORY, Rows, open_safetensors
from .tasks import TASKS, make_task

TASK_ROWS = 50_000  # training rows of a task that is asked for by name, where it has no number of its own
SIZED_TEST_ROWS = 200  # of each size, in validation and test


def load_data(source: str, seed: int = 0) -> PairData:
    """Load a data set.

    Args:
        source: `shipped`; the name of a registered task (a key of `TASKS`); the folder of a pair set that
            `energy-flow data embed` made; or the path of a `.safetensors` file with the matrices `inputs` (N, E in) and
            `targets` (N, E out), split at random: 80 % train, 10 % validation, 10 % test.
        seed: of the random parts.

    Raises:
        ValueError: nothing of this name, or the file is not what it should be.
    """
    if not source:
        raise ValueError("data is empty; give shipped, a folder, a .safetensors file, or the name of a task")
    if source == SHIPPED:
        return load_shipped()
    if source in TASKS:
        return _make_whole_task(source, seed)
    path = Path(source)
    if path.is_dir():
        return load_pair_folder(path)
    if not path.is_file():
        names = ", ".join((SHIPPED, *TASKS))
        raise ValueError(
            f"data = {source!r}: neither a file, nor a folder, nor one of {names}; "
            "a task of your own is known once the module that registers it is imported"
        )
    matrices = load_matrices(path, ("inputs", "targets"))
    return _split(path.stem, PairSet(matrices["inputs"], matrices["targets"]), seed)


def data_settings(data: PairData) -> dict[str, Any]:
    """The fields of the configuration that a data set decides: its widths and its face, and what a task needs.

    Of several sizes the widths are those of the task's own face, or else of the first one in training.

    Raises:
        ValueError: the set is that of a task which is not registered.
    """
    parts = parts_of(data.train)
    wanted = TASKS[data.task].face if data.task else None
    train = next((part for part in parts if part.face == wanted), parts[0])
    fields = {"input_embedding_dim": train.inputs.shape[1], "output_embedding_dim": train.targets.shape[1]}
    if train.face is not None:
        fields |= {"sites": train.face, "lattice_width": train.face[0], "lattice_height": train.face[1]}
    return fields | dict(TASKS[data.task].settings if data.task else {})


def settings_with_room(preset: Mapping[str, Any], data: PairData) -> dict[str, Any]:
    """What the data set decides, and room for a flow in every cell of its face.

    Args:
        preset: the fields that are changed otherwise.
        data: the data set.
    """
    fields = data_settings(data)
    if "sites" not in fields:
        return fields
    cells, most = fields["sites"][0] * fields["sites"][1], preset.get("max_active_flows", 0)
    return fields | ({"max_active_flows": cells} if 0 < most < cells else {})


def _make_whole_task(name: str, seed: int) -> PairData:
    """A task with all its sizes, where it has several."""
    task = TASKS[name]
    rows = task.rows or TASK_ROWS
    if not task.train_sizes:
        return make_task(name, rows, seed=seed)
    most = max(len(task.sizes.validation), len(task.sizes.test))
    return make_task(name, rows, SIZED_TEST_ROWS * most, seed, task.sizes)


def load_matrices(path: Path, names: tuple[str, ...], in_memory: int = IN_MEMORY) -> dict[str, Rows]:
    """Open the named floating matrices of a `.safetensors` file; what is larger than `in_memory` bytes stays there.

    Raises:
        ValueError: no such file, not a safetensors file, or a matrix is missing or is no set of embeddings.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a .safetensors file with {' and '.join(names)}")
    try:
        with safe_open(path, "pt"):  # checks the header against the length of the file
            pass
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a safetensors file ({error}); write it with safetensors.torch.save_file"
        ) from error
    matrices = {name: open_safetensors(path, name, in_memory) for name in names}
    for name, matrix in matrices.items():
        check_embeddings(f"{path}: {name}", matrix)
    return matrices


def _split(name: str, pairs: PairSet, seed: int) -> PairData:
    if len(pairs) < 10:
        raise ValueError(f"{name} has {len(pairs)} pairs; three splits need at least 10")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    tenth = len(pairs) // 10
    train, validation, test = (pairs.subset(rows) for rows in order.split((len(pairs) - 2 * tenth, tenth, tenth)))
    return PairData(name, train, validation, test)
