"""The figures of a run in Weights & Biases."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...config import EnergyConfig
from ...utils.console import printable
from ...utils.files import replace_file
from .observers import Example, Figures
from .run_files import RUN_ID


class WandbCurves:
    """Sends every figure to Weights & Biases, under `train/` and `validation/`, against the step.

    Without a network set `WANDB_MODE=offline` in the environment, and later `wandb sync` what is in the run folder.
    Steps after the checkpoint that a run goes on from are drawn again, over those that were lost.

    Args:
        project: name of the project there.
        folder: the run folder.
        config: shown beside the curves.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self, project: str, folder: Path, config: EnergyConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("--wandb needs Weights & Biases: pip install 'energy-flow[wandb]'") from error
        self._wandb: Any = wandb
        self._run: Any = None
        self.project, self.folder, self.config = project, folder, config

    def start(self, total_steps: int) -> None:
        """Open the run, or the one that goes on."""
        path = self.folder / RUN_ID
        if not path.exists():
            replace_file(path, lambda new: new.write_text(uuid.uuid4().hex[:12], encoding="utf-8"))
        self._run = self._wandb.init(
            project=self.project,
            name=self.folder.name,
            id=path.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(self.folder),
            config=self.config.to_dict(),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def observe(self, records: Sequence[Figures]) -> None:
        """Send the steps."""
        for record in records:
            self._send("train", record)

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Send the validation, and its examples as a table."""
        self._send("validation", record)
        if examples:
            rows = [
                [printable(text) for text in (example.given, example.wanted, ", ".join(example.found))]
                for example in examples
            ]
            table = self._wandb.Table(columns=["given", "wanted", "found"], data=rows)
            self._run.log({"validation/examples": table, "step": record["step"]})

    def close(self) -> None:
        """End the run there."""
        if self._run is not None:
            self._run.finish()

    def _send(self, kind: str, record: Figures) -> None:
        named = {f"{kind}/{name}": value for name, value in record.items() if name != "step"}
        self._run.log(named | {"step": record["step"]})
