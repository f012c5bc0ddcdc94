"""Who watches a training run: metrics file, TensorBoard, progress bar. They read figures and change nothing."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..utils.files import replace_file
from ..utils.logging import logger

Figures = Mapping[str, float]


class Example(NamedTuple):
    """An output of the validation set in words."""

    given: str
    wanted: str
    found: tuple[str, ...]  # the nearest texts of the bank

    def __str__(self) -> str:
        return f"{self.given} -> {', '.join(self.found)} (wanted: {self.wanted})"


class Observer(Protocol):
    """What a trainer tells its observers. Every record holds `step` and `epoch`, both counted from 1."""

    def start(self, total_steps: int) -> None:
        """The run begins."""

    def observe(self, records: Sequence[Figures]) -> None:
        """Some steps have been taken; one record each."""

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """The validation set has been measured; where its targets are texts, some outputs have been decoded."""

    def close(self) -> None:
        """The run has ended, whether well or not."""


class MetricsFile:
    """Appends every record to `metrics.jsonl`, one JSON object a line, with its kind: `train` or `validation`.

    Args:
        path: the file.
        step: steps that the run has taken; what an interrupted run wrote beyond them is taken back.
        epoch: epochs that it has finished, likewise.
    """

    def __init__(self, path: Path, step: int = 0, epoch: int = 0) -> None:
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _counts(line, step, epoch)]
            replace_file(path, lambda new: new.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8"))
        self._file = path.open("a", encoding="utf-8")

    def start(self, total_steps: int) -> None:
        """Nothing to do."""

    def observe(self, records: Sequence[Figures]) -> None:
        """Write the steps."""
        for record in records:
            self._write("train", record)
        self._file.flush()

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Write the validation, and its examples as a list of texts."""
        decoded = [example._asdict() for example in examples]
        self._write("validation", dict(record) | ({"examples": decoded} if decoded else {}))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, kind: str, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"kind": kind} | dict(record)) + "\n")


class TensorBoardCurves:
    """Writes every figure as a scalar, under `train/` and `validation/`; what lies beyond `step` counts no more."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

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
            lines = "\n\n".join(str(example) for example in examples)
            self._writer.add_text("validation/examples", lines, int(record["step"]))

    def close(self) -> None:
        """Bring everything to the disk."""
        self._writer.close()

    def _write(self, kind: str, record: Figures) -> None:
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, int(record["step"]))


class _BarAndFigures(Progress):
    """A bar, and a line of figures below it."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is shown, from the top."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures)


class ProgressBar:
    """A bar with the live figures."""

    def __init__(self, console: Console | None = None) -> None:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = _BarAndFigures(*columns, console=console)

    def start(self, total_steps: int) -> None:
        """Show the bar."""
        self._progress.start()
        self._task = self._progress.add_task("training", total=total_steps)

    def observe(self, records: Sequence[Figures]) -> None:
        """Move the bar and show the newest figures."""
        self._progress.figures = live_figures(records[-1])
        self._progress.update(self._task, advance=len(records))

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Print the figures and the decoded examples above the bar."""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in ("step", "epoch"))
        self._progress.console.print(f"epoch {record['epoch']:.0f}  validation: {figures}", highlight=False)
        for example in examples:
            self._progress.console.print(f"    {example}", highlight=False, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


def live_figures(record: Figures) -> str:
    """One line: loss, flows alive, mean level, percent arrived, flow-steps a second, memory."""
    return (
        f"loss {record['loss']:.4f}  alive {record['live']:.1f}  level {record['mean_level']:.2f}  "
        f"arrived {100 * record['arrived_share']:.0f}%  {record['flow_steps_per_second'] / 1e3:.1f}k flow-steps/s  "
        f"{record['memory_bytes'] / 2**30:.2f} GiB"
    )


def run_folder_observers(folder: Path, step: int, epoch: int) -> list[Observer]:
    """The observers that write into a run folder: the metrics file, and TensorBoard where it is installed."""
    observers: list[Observer] = [MetricsFile(folder / "metrics.jsonl", step, epoch)]
    if importlib.util.find_spec("tensorboard") is None:
        logger.warning("no TensorBoard curves: pip install 'energy-flow[cli]'")
    else:
        observers.append(TensorBoardCurves(folder / "tensorboard", step))
    return observers


def _counts(line: str, step: int, epoch: int) -> bool:
    """Whether a line of the metrics is whole, and of a step and an epoch that the run still has."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return False
    return record["step"] <= step and (record["kind"] == "train" or record["epoch"] <= epoch)
