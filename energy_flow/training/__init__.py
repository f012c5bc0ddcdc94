"""Training: the trainer, its loop and step, losses, metrics, and models on disk."""

from .callbacks import Callback
from .diagnosis import NonFiniteError
from .energy_trainer import EnergyTrainer, TrainingResult
from .losses import LOSSES
from .metrics import EmbeddingMetrics, Judge, measure
from .model_folder import load_model, save_model
from .run.folder_lock import RunInUseError, RunTakenError
from .run.metrics_file import MetricsFile
from .run.observers import Observer
from .run.progress_bar import ProgressBar
from .run.run import TrainingStopped, WeightsNotSavedError
from .run.run_state import EpochReport
from .run.tensorboard_curves import TensorBoardCurves
from .run.wandb_curves import WandbCurves

__all__ = [
    "LOSSES",
    "Callback",
    "EmbeddingMetrics",
    "EnergyTrainer",
    "EpochReport",
    "Judge",
    "MetricsFile",
    "NonFiniteError",
    "Observer",
    "ProgressBar",
    "RunInUseError",
    "RunTakenError",
    "TensorBoardCurves",
    "TrainingResult",
    "TrainingStopped",
    "WandbCurves",
    "WeightsNotSavedError",
    "load_model",
    "measure",
    "save_model",
]
