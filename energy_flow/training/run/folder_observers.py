"""Who writes the figures of a run into its folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ...utils.logging import logger
from .metrics_file import METRICS, MetricsFile
from .observers import Observer
from .tensorboard_curves import TENSORBOARD, TensorBoardCurves


def run_folder_observers(folder: Path, step: int, looked_at: int) -> list[Observer]:
    """The observers that write into a run folder: the metrics file, and TensorBoard where it is installed.

    Args:
        folder: the run folder.
        step: steps that the run has taken.
        looked_at: the step of its last look at the validation set.
    """
    makers: dict[str, Callable[[], Observer]] = {"metrics": lambda: MetricsFile(folder / METRICS, step, looked_at)}
    if importlib.util.find_spec("tensorboard") is None:
        logger.warning("no TensorBoard curves: pip install 'energy-flow[cli]'")
    else:
        makers["TensorBoard curves"] = lambda: TensorBoardCurves(folder / TENSORBOARD, step)
    observers: list[Observer] = []
    for what, make in makers.items():
        try:
            observers.append(make())
        except Exception as error:
            logger.error("no %s in %s (%s: %s); training goes on", what, folder, type(error).__name__, error)
    return observers
