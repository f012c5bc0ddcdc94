"""Signals that ask a run to stop: the first is a request, the second ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

NOTHING_SAVED = "nothing is on the disk yet"
SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT", "SIGUSR1")  # those that the system has


class StopSignals:
    """While it is entered, a signal is noted in `received` instead of ending the process, and the user is told at once.

    A second one ends the process with exit code 128 + its number; in a notebook or at a prompt, whose process must
    live on, a second Ctrl-C is a KeyboardInterrupt as ever. Outside the main thread signals cannot be caught, and
    nothing changes.

    Attributes:
        received: the name of the first signal, or None.
        awaited: what is finished first, in words.
        saved: what is on the disk by now, in words.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.awaited, self.saved = "this step", NOTHING_SAVED
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.received, self.saved = None, NOTHING_SAVED
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is None:  # Windows has few of them
                    continue
                if name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:  # which nohup ignores
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.received is None:
            self.received = name
            _say(
                f"{name}: waiting for {self.awaited} to end, then the run is saved and stops. "
                f"A second one ends it at once; {self.saved}."
            )
        elif number == signal.SIGINT and _at_a_prompt():
            raise KeyboardInterrupt
        else:
            os._exit(128 + number)


def _at_a_prompt() -> bool:
    """Whether somebody works in this process, as in a notebook, and would lose more than the run with it."""
    return "ipykernel" in sys.modules or hasattr(sys, "ps1")


def _say(words: str) -> None:
    """A line for the user from within a signal handler, which may have interrupted another line."""
    with contextlib.suppress(Exception):
        try:
            print(f"\n{words}", file=sys.stderr, flush=True)
        except RuntimeError:  # the handler interrupted a write to the same stream
            os.write(2, f"\n{words}\n".encode(errors="replace"))
