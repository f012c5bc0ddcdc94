"""The live figures of a run: a bar on a terminal, lines where there is none."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ...utils.console import PlainConsole, printable
from .observers import Example, Figures

LINES = 100  # of a whole run, where there is no terminal
LONGEST_SILENCE = 60.0  # seconds after which the next report is printed


class _BarAndFigures(Progress):
    """A bar, and a line of figures below it."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is shown, from the top."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures)


class ProgressBar:
    """A bar with the live figures; a line now and then where there is no terminal to draw a bar on.

    Args:
        console: where to print; standard output by default.
        every: steps between two lines where there is no terminal; by default about a hundred lines a run, and one a
            minute at least.
    """

    def __init__(self, console: Console | None = None, every: int | None = None) -> None:
        self._console = console or PlainConsole()
        self._every, self._total, self._done, self._said, self._said_at = every, 0, 0, 0, 0.0
        self._bar: _BarAndFigures | None = None
        if _can_draw(self._console):
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = _BarAndFigures(*columns, console=self._console)

    def start(self, total_steps: int) -> None:
        """Show the bar."""
        self._total, self._done, self._said, self._said_at = total_steps, 0, 0, time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task("training", total=total_steps)
            self._bar.start()

    def observe(self, records: Sequence[Figures]) -> None:
        """Move the bar and show the newest figures."""
        self._done += len(records)
        if self._bar is not None:
            self._bar.figures = live_figures(records[-1])
            self._bar.update(self._task, advance=len(records))
        elif self._a_line_is_due():
            self._print(f"step {records[-1]['step']:.0f}  {self._done}/{self._total}  {live_figures(records[-1])}")
            self._said, self._said_at = self._done, time.monotonic()

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """Print the figures and the decoded examples above the bar."""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in ("step", "epoch"))
        self._print(f"epoch {record['epoch']:.0f}  validation: {figures}")
        for example in examples:
            self._print(f"    {example}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def _a_line_is_due(self) -> bool:
        steps = self._every or max(1, self._total // LINES)
        waited = self._every is None and time.monotonic() - self._said_at > LONGEST_SILENCE
        return self._said == 0 or waited or self._done - self._said >= steps or self._done == self._total

    def _print(self, line: str) -> None:
        console = self._console
        console.print(printable(line, console.encoding), highlight=False, markup=False, emoji=False)


def live_figures(record: Figures) -> str:
    """One line: loss, flows alive, mean level, percent arrived, flow-steps a second, memory."""
    return (
        f"loss {record['loss']:.4f}  alive {record['live']:.1f}  level {record['mean_level']:.2f}  "
        f"arrived {100 * record['arrived_share']:.0f}%  {record['flow_steps_per_second'] / 1e3:.1f}k flow-steps/s  "
        f"{record['memory_bytes'] / 2**30:.2f} GiB"
    )


def _can_draw(console: Console) -> bool:
    """Whether a bar can be drawn again and again in one place."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal
