"""A bar of rows for long work, on the error stream, so that what is printed can be kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..utils.console import PlainConsole
from .data_embed import RateColumn


@contextlib.contextmanager
def rows_bar(what: str, rows: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; what it gives is told how many more rows are done.

    Args:
        what: is being done.
        rows: in all.
        done: before.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    console = PlainConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=rows, completed=done)
        yield lambda more: bar.advance(task, more)
