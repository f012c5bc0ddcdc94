"""Opening a run folder: what is there, and what will be done with it. Nothing is changed by looking."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from ...config import EnergyConfig
from ...config.energy_config import RUN_ONLY
from ...utils.files import require_writable
from ..model_folder import CONFIG, WEIGHTS
from .checkpoint_store import MANIFEST, CheckpointStore, read_checkpoint
from .folder_lock import LOCK, OWNER, refuse_if_in_use
from .run_state import STATE

CHECKPOINTS = "checkpoints"
MAY_CHANGE = ("epochs",)  # fields of a run that goes on which may be others


class Opened(Enum):
    """What a run does with its folder."""

    NEW = auto()  # it is empty, or made
    REPLACED = auto()  # what an earlier run left is removed
    RESTARTED = auto()  # its run was killed before it saved anything
    RESUMED = auto()  # it goes on from a checkpoint in it
    FORKED = auto()  # it goes on from another run's checkpoint
    AGAIN = auto()  # the trainer, whose run is finished, begins another


@dataclass(frozen=True)
class Opening:
    """What was found in a run folder.

    Attributes:
        folder: the run folder; None keeps nothing on disk.
        how: what the run does with it.
        checkpoint: the folder of the checkpoint that it goes on from, where it does.
        known: the names of the checkpoints in the run folder.
    """

    folder: Path | None
    how: Opened = Opened.NEW
    checkpoint: Path | None = None
    known: tuple[str, ...] = ()

    def require_unchanged(self) -> None:
        """Refuse, with a ValueError, where somebody trained in the folder since it was opened."""
        if self.folder is not None and not {*_known(self.folder)} <= {*self.known}:
            raise ValueError(f"{self.folder} got other checkpoints since it was opened; open the run again")


def open_run(
    folder: str | Path | None, overwrite: bool, resume_from: str | Path | None, config: EnergyConfig
) -> Opening:
    """Look at a run folder.

    Args:
        folder: the run folder; None keeps nothing on disk.
        overwrite: what an earlier run left there may be removed, once training starts.
        resume_from: `auto`, or the folder of a checkpoint, of this run or another.
        config: what is to be trained.

    Raises:
        ValueError: the folder is in use, cannot be written, or holds something already; or there is nothing to go on
            from, or what there is would compute something else.
    """
    if resume_from is not None and (folder is None or overwrite):
        raise ValueError("resume_from goes on with a run: give its run_folder, and do not overwrite it")
    if folder is None:
        return Opening(None)
    folder = Path(folder).expanduser().absolute()  # wherever the process may go meanwhile
    require_writable(folder, "run folder")
    inside = next((parent for parent in folder.parents if (parent / MANIFEST).is_file()), None)
    if inside is not None:
        raise ValueError(f"run folder {folder} lies in the checkpoint {inside}; give a folder outside")
    refuse_if_in_use(folder)
    known = _known(folder)
    if resume_from == "auto":
        return _resume_newest(folder, config, known)
    if resume_from is not None:
        return _resume_from(folder, Path(resume_from).expanduser(), config, known)
    if _is_empty(folder):
        return Opening(folder)
    if not overwrite:
        raise ValueError(
            f"run folder {folder} exists and is not empty; give another, or --overwrite, or --resume auto to go on"
        )
    if (folder / CONFIG).is_file():
        try:
            EnergyConfig.load(folder / CONFIG)
        except ValueError as error:
            raise ValueError(f"run folder {folder} is no run's to replace: {error}; give another folder") from error
    return Opening(folder, Opened.REPLACED, known=known)


def newest_checkpoint(run_folder: Path, checkpoint: str | Path = "auto") -> Path:
    """The checkpoint of this path; with `auto`, the newest of a run that is whole. For reading alone.

    Raises:
        ValueError: the run has none.
    """
    if checkpoint != "auto":
        return _require_checkpoint(Path(checkpoint), run_folder)
    store = CheckpointStore(run_folder / CHECKPOINTS)
    folder = store.newest()
    if folder is None:
        raise ValueError(f"{store.folder}: no whole checkpoint to go on from; give another run, or start one")
    return folder


def claim_folder(parent: Path) -> Path:
    """Make a run folder of this second, or where several start within it, with a number; nobody else gets it.

    Raises:
        ValueError: it cannot be made.
    """
    name = time.strftime("%Y%m%d-%H%M%S")
    require_writable(parent, "run folder")
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def require_same_run(found: EnergyConfig, wanted: EnergyConfig) -> None:
    """Refuse to go on with fields that would compute something else, with a ValueError that names them."""
    before, now = found.to_dict(), wanted.to_dict()
    changed = [name for name in now if name not in (*RUN_ONLY, *MAY_CHANGE) and before[name] != now[name]]
    if changed:
        listed = ", ".join(f"{name} = {now[name]!r} (was {before[name]!r})" for name in changed)
        raise ValueError(
            f"the run was started with other fields: {listed}; leave them as they were, or start a new run (with "
            "--init-from RUN/best it starts from these weights)"
        )


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or {path.name for path in folder.iterdir()} <= {LOCK, OWNER}


def _known(folder: Path) -> tuple[str, ...]:
    return tuple(path.name for path in CheckpointStore(folder / CHECKPOINTS).all())


def _resume_newest(folder: Path, config: EnergyConfig, known: tuple[str, ...]) -> Opening:
    store = CheckpointStore(folder / CHECKPOINTS)
    checkpoint = store.newest()
    if checkpoint is not None:
        require_same_run(EnergyConfig.load(checkpoint / CONFIG), config)
        return Opening(folder, Opened.RESUMED, checkpoint, known)
    if known:
        raise ValueError(f"{store.folder}: every checkpoint is damaged; take RUN/last's weights, or start a new run")
    weights = [name for name in ("last", "best") if (folder / name / WEIGHTS).is_file()]
    if weights:
        raise ValueError(
            f"{folder} has weights and no checkpoint to go on from; start a new run from them with --init-from "
            f"{folder / weights[0]} --run ANOTHER, or replace the run with --overwrite"
        )
    if _is_empty(folder):
        return Opening(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"run folder {folder} exists and is not empty, and no run is in it; give another")
    require_same_run(EnergyConfig.load(folder / CONFIG), config)
    return Opening(folder, Opened.RESTARTED)


def _resume_from(folder: Path, checkpoint: Path, config: EnergyConfig, known: tuple[str, ...]) -> Opening:
    _require_checkpoint(checkpoint, folder)
    require_same_run(EnergyConfig.load(checkpoint / CONFIG), config)
    own = (folder / CHECKPOINTS).resolve() == checkpoint.resolve().parent
    if not own and not _is_empty(folder):
        raise ValueError(
            f"run folder {folder} exists and is not empty, and {checkpoint} is another run's; give a new folder"
        )
    return Opening(folder, Opened.RESUMED if own else Opened.FORKED, checkpoint, known)


def _require_checkpoint(folder: Path, run_folder: Path) -> Path:
    """The folder of a whole checkpoint.

    Raises:
        ValueError: it is none; says which there are.
    """
    if (folder / MANIFEST).exists():
        read_checkpoint(folder)
        return folder
    if (folder / WEIGHTS).is_file() and not (folder / STATE).exists():
        raise ValueError(f"{folder} holds weights alone, and no checkpoint; start from them with --init-from {folder}")
    run = folder.parent if folder.name == CHECKPOINTS else folder
    if (run / CHECKPOINTS).is_dir():
        raise ValueError(
            f"{folder} is no checkpoint: give one of those there are, {_listed(run)}, or --run {run} --resume auto"
        )
    if folder.is_dir():
        read_checkpoint(folder)  # says what is missing
    raise ValueError(f"{folder}: no such checkpoint; there are {_listed(run_folder)}")


def _listed(run: Path) -> str:
    names = _known(run)
    return f"{', '.join(names)} in {run / CHECKPOINTS}" if names else f"none in {run / CHECKPOINTS}"
