"""The `energy_flow` logger: special levels that switch one by one, context on every record, console and JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

DEBUG_ENERGY, DEBUG_SPAWN, DEBUG_CONVERGENCE = 7, 8, 9
CHANNELS = {"DEBUG_ENERGY": DEBUG_ENERGY, "DEBUG_SPAWN": DEBUG_SPAWN, "DEBUG_CONVERGENCE": DEBUG_CONVERGENCE}
for _name, _level in CHANNELS.items():
    logging.addLevelName(_level, _name)

logger = logging.getLogger("energy_flow")
logger.addHandler(logging.NullHandler())
_context: ContextVar[dict[str, Any]] = ContextVar("energy_flow_context", default={})  # noqa: B039  (never changed in place)
_active: set[int] = set()


def setup_logging(
    level: str = "INFO", channels: tuple[str, ...] = (), json_path: Path | None = None, console: Console | None = None
) -> None:
    """Send the package's records to the console, and to a JSON lines file where one is given.

    Args:
        level: least ordinary level, such as INFO.
        channels: names of the special levels to switch on: DEBUG_ENERGY, DEBUG_SPAWN, DEBUG_CONVERGENCE.
        json_path: file that records are appended to, one JSON object a line.
        console: where to print; a new one by default.

    Raises:
        ValueError: no such level or channel.
    """
    if level not in logging.getLevelNamesMapping():
        raise ValueError(f"log level = {level!r}; give one of DEBUG, INFO, WARNING, ERROR")
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown:
        raise ValueError(f"log channel = {unknown[0]!r}; give one of {', '.join(CHANNELS)}")
    _active.clear()
    _active.update(CHANNELS[name] for name in channels)
    least = logging.getLevelNamesMapping()[level]
    handlers: list[logging.Handler] = [_console_handler(console or Console(stderr=True))]
    if json_path is not None:
        handlers.append(JsonLinesHandler(json_path))
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.addFilter(lambda record: record.levelno >= least or record.levelno in _active)
        logger.addHandler(handler)
    logger.setLevel(min({least, *_active}))
    logger.propagate = False


def is_on(channel: int) -> bool:
    """Whether a special level is switched on; ask before computing what it would log."""
    return channel in _active


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Put fields (run, epoch, step) on every record of this thread or task within the block."""
    token = _context.set(_context.get() | fields)
    try:
        yield
    finally:
        _context.reset(token)


class JsonLinesHandler(logging.FileHandler):
    """Appends each record as one JSON object: time, level, message and the context's fields.

    What is logged before the folder of the file exists waits until it does. Where the disk does not take it, one line
    on standard error says so, and no traceback.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self._complained = False
        self._folder = Path(self.baseFilename).parent
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the file is opened with the first."""
        self._waiting.append(record)
        if not self._folder.is_dir():
            return
        try:
            while self._waiting:
                super().emit(self._waiting.pop(0))
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Complain once."""
        if not self._complained:
            self._complained = True
            _complain(f"{self.baseFilename} is not written: {sys.exc_info()[1]}")

    def close(self) -> None:
        """Close the file; what the disk does not take by then is lost."""
        try:
            super().close()
        except OSError as error:
            _complain(f"{self.baseFilename} is not whole: {error}")

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        fields = {"time": record.created, "level": record.levelname, "message": record.getMessage()}
        return json.dumps(fields | _context.get(), default=str)


def _complain(words: str) -> None:
    """Say something of the log itself, where standard error takes it."""
    with contextlib.suppress(OSError, ValueError):
        print(f"energy-flow: warning: {words}", file=sys.stderr)


class _QuietRichHandler(RichHandler):
    """One that has nobody to write to, as after `| head`, says nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """The record stands in the file."""


def _console_handler(console: Console) -> RichHandler:
    handler = _QuietRichHandler(console=console, show_path=False, markup=False)
    handler.setFormatter(_ContextFormatter("%(message)s"))
    return handler


class _ContextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = " ".join(f"{name}={value}" for name, value in _context.get().items())
        return f"{super().format(record)}  [{context}]" if context else super().format(record)
