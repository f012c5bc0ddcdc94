"""Training: the trainer, losses, metrics, observers, and models on disk."""

from .diagnosis import NonFiniteError
from .energy_trainer import EnergyTrainer, TrainingResult, TrainingStopped
from .losses import LOSSES
from .metrics import EmbeddingMetrics, Judge, measure
from .model_folder import load_model, save_model
from .observers import MetricsFile, Observer, ProgressBar, TensorBoardCurves
from .run_state import EpochReport
from .wandb_curves import WandbCurves

__all__ = [
    "LOSSES",
    "EmbeddingMetrics",
    "EnergyTrainer",
    "EpochReport",
    "Judge",
    "MetricsFile",
    "NonFiniteError",
    "Observer",
    "ProgressBar",
    "TensorBoardCurves",
    "TrainingResult",
    "TrainingStopped",
    "WandbCurves",
    "load_model",
    "measure",
    "save_model",
]
