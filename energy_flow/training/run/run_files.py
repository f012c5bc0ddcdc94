"""What stands in a run folder beside its checkpoints, and what becomes of it when another run begins there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ...utils.files import replace_file
from ...utils.logging import logger
from ..model_folder import CONFIG, WEIGHTS
from .checkpoint_files import BEST
from .checkpoint_store import CheckpointStore
from .folder_lock import OWNER
from .metrics_file import METRICS
from .opening import CHECKPOINTS
from .tensorboard_curves import TENSORBOARD

LOG, NONFINITE, RUN_ID, SET_ASIDE = "log.jsonl", "nonfinite", "wandb-id.txt", "set-aside"
FRAMES, FLOWS_PAGE = "flows", "flows.html"  # of the flows at every look, where somebody keeps them
WEIGHT_FOLDERS = ("best", "last")
OF_ONE_RUN = (
    CONFIG,
    METRICS,
    TENSORBOARD,
    "wandb",
    RUN_ID,
    *WEIGHT_FOLDERS,
    CHECKPOINTS,
    NONFINITE,
    FRAMES,
    FLOWS_PAGE,
)
FILES_OF_A_RUN = (
    *(CONFIG, METRICS, LOG, RUN_ID, f"{NONFINITE}/step-*.json", f"{NONFINITE}/step-*.safetensors"),
    *(f"{name}/{file}" for name in WEIGHT_FOLDERS for file in (WEIGHTS, CONFIG)),
    *(f"{TENSORBOARD}/events.out.tfevents.*", f"{TENSORBOARD}/{FRAMES}/events.out.tfevents.*"),
    *(FLOWS_PAGE, f"{FRAMES}/step-*.safetensors"),
)


def remove_earlier_run(folder: Path) -> None:
    """Remove the files that an earlier run left, each by its name; what was set aside, and whatever else, stays."""
    store = CheckpointStore(folder / CHECKPOINTS)
    for checkpoint in store.all():
        shutil.rmtree(checkpoint)
    store.remove_unfinished()
    for pattern in FILES_OF_A_RUN:
        for path in folder.glob(pattern):
            path.unlink()
    for name in (CHECKPOINTS, *WEIGHT_FOLDERS, f"{TENSORBOARD}/{FRAMES}", TENSORBOARD, NONFINITE, FRAMES):
        path = folder / name
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a killed process was writing, beside those that they would have replaced."""
    for place in ("", *(f"{name}/" for name in WEIGHT_FOLDERS)):
        for name in (WEIGHTS, CONFIG, METRICS, OWNER):
            for path in folder.glob(f"{place}.{name}.*.tmp"):
                path.unlink(missing_ok=True)


def set_aside(folder: Path, names: Iterable[str], copied: Iterable[str] = ()) -> None:
    """Move files and folders of a run to a new folder beside them, by their paths in the run folder.

    Args:
        folder: the run folder.
        names: what is moved, where it is there.
        copied: files that are copied and stay as well.
    """
    moved = [name for name in names if (folder / name).exists()]
    if not moved:
        return
    numbers = [int(path.name) for path in (folder / SET_ASIDE).glob("[0-9]*") if path.name.isdigit()]
    aside = folder / SET_ASIDE / f"{max(numbers, default=0) + 1:03d}"
    for name in (*copied, *moved):
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        if name in moved:
            (folder / name).rename(aside / name)
        elif (folder / name).exists():
            shutil.copyfile(folder / name, aside / name)
    logger.warning("what an earlier run left in %s is in %s now", folder, aside)


def restore_best(folder: Path, checkpoint: Path) -> None:
    """Put back the best weights as a checkpoint knew them; those of a branch that is not gone on with were others."""
    if not (checkpoint / BEST).is_file():
        return
    best = folder / "best"
    best.mkdir(exist_ok=True)
    for name, source in ((WEIGHTS, checkpoint / BEST), (CONFIG, checkpoint / CONFIG)):
        replace_file(best / name, lambda path, source=source: shutil.copyfile(source, path))


def require_space(folder: Path, needed: int) -> None:
    """Refuse, with a ValueError, to train where the disk has no room for the first checkpoints and weights."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"run folder {folder}: the disk has {free / 2**20:,.1f} MiB free, and the run needs {needed / 2**20:,.1f} "
            "for its first checkpoints and weights; free some, or give a folder on another disk"
        )
