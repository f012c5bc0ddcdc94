"""A training run: its folder, lock, checkpoints, signals and observers."""

from .folder_lock import RunInUseError, RunTakenError
from .observers import Example, Observer
from .opening import claim_folder, newest_checkpoint
from .progress_bar import ProgressBar
from .run import Run, TrainingStopped, WeightsNotSavedError
from .run_state import EpochReport, RunState

__all__ = [
    "EpochReport",
    "Example",
    "Observer",
    "ProgressBar",
    "Run",
    "RunInUseError",
    "RunState",
    "RunTakenError",
    "TrainingStopped",
    "WeightsNotSavedError",
    "claim_folder",
    "newest_checkpoint",
]
