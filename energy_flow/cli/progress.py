"""A bar of rows for long work, on the error stream, so that what is printed can be kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..utils.console import PlainConsole
from .data_embed import RateColumn


@contextlib.contextmanager
def rows_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; what it gives is told how many rows are done, of how many.

    Args:
        what: is being done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    console = PlainConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, rows: bar.update(task, completed=done, total=rows)
