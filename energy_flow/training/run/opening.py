"""The folder of a run: claimed for a new one, or opened to go on."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..config import EnergyConfig
from .checkpoint_store import CheckpointStore, read_checkpoint
from .model_folder import CONFIG
from .run_state import require_same_run
from .wandb_curves import RUN_ID

RUN_FILES = (
    *("config.json", "metrics.jsonl", "log.jsonl", "tensorboard", "wandb", RUN_ID),
    *("best", "last", "checkpoints", "nonfinite"),
)
CHECKPOINTS, NONFINITE = "checkpoints", "nonfinite"


def open_run_folder(
    folder: str | Path | None, overwrite: bool, resume_from: str | Path | None, config: EnergyConfig
) -> tuple[Path | None, Path | None]:
    """The folder of a run, and the checkpoint that it goes on from; None for what there is not.

    Raises:
        ValueError: the folder holds something already, or there is nothing to go on from.
    """
    if resume_from is None:
        return (None if folder is None else prepare_run_folder(Path(folder), overwrite)), None
    if folder is None or overwrite:
        raise ValueError("resume_from goes on with a run: give its run_folder, and do not overwrite it")
    checkpoint = find_checkpoint(Path(folder), resume_from, config)
    if checkpoint is not None:
        return Path(folder), checkpoint
    killed_before_it_saved = (Path(folder) / CONFIG).is_file()
    return prepare_run_folder(Path(folder), killed_before_it_saved), None


def prepare_run_folder(folder: Path, overwrite: bool) -> Path:
    """Make a run folder; what an earlier run left is removed with `overwrite` alone, and nothing else ever."""
    if folder.is_file():
        raise ValueError(f"run folder {folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise ValueError(f"run folder {folder} exists and is not empty; give another, or --overwrite")
        for name in RUN_FILES:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_checkpoint(run_folder: Path, resume_from: str | Path, config: EnergyConfig) -> Path | None:
    """The whole checkpoint that a run goes on from; None where `auto` finds none.

    Raises:
        ValueError: it is damaged, of a newer format, or of a run that would compute something else.
    """
    if resume_from == "auto":
        store = CheckpointStore(run_folder / CHECKPOINTS, config.keep_checkpoints)
        folder = store.newest()
        if folder is None and store.all():
            raise ValueError(
                f"{store.folder}: every checkpoint is damaged; take RUN/last's weights, or start a new run"
            )
    else:
        folder = Path(resume_from)
        read_checkpoint(folder)
    if folder is not None:
        require_same_run(EnergyConfig.load(folder / CONFIG), config)
    return folder


def newest_checkpoint(run_folder: Path, checkpoint: str | Path) -> Path:
    """The checkpoint of this path; with `auto`, the newest of a run that is whole.

    Raises:
        ValueError: the run has none.
    """
    store = CheckpointStore(run_folder / CHECKPOINTS)
    folder = store.newest() if checkpoint == "auto" else Path(checkpoint)
    if folder is None:
        raise ValueError(f"{store.folder}: no whole checkpoint to go on from; give another run, or start one")
    return folder
