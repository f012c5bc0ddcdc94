"""The figures of a run as TensorBoard's curves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ...utils.console import printable
from .observers import Example, Figures

TENSORBOARD = "tensorboard"


class TensorBoardCurves:
    """Writes every figure as a scalar, under `train/` and `validation/`; what lies beyond `step` counts no more."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if folder.exists() else None)
        self._hook = threading.excepthook
        threading.excepthook = self._say_nothing_of_the_disk

    def start(self, total_steps: int) -> None:
        """Nothing to do."""

    def observe(self, records: Sequence[Figures]) -> None:
        """Write the steps."""
        for record in records:
            self._write("train", record)

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Write the validation, and its examples as text."""
        self._write("validation", record)
        if examples:
            lines = "\n\n".join(printable(str(example)) for example in examples)
            self._writer.add_text("validation/examples", lines, int(record["step"]))

    def close(self) -> None:
        """Bring everything to the disk."""
        try:
            self._writer.close()
        finally:
            threading.excepthook = self._hook

    def _say_nothing_of_the_disk(self, failed: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread prints a traceback where the disk is full; the writer's next call raises it here."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard")):
            self._hook(failed)

    def _write(self, kind: str, record: Figures) -> None:
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, int(record["step"]))
