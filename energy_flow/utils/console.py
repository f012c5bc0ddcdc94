"""What is printed for people, on terminals and streams of any encoding."""

from __future__ import annotations

import contextlib
import sys
from typing import NoReturn, TextIO

from rich.console import Console


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""A text in which what an encoding does not have stands as `\x..` or `\u....`, such as Chinese in cp1252."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


class PlainConsole(Console):
    """A console for texts of any content: brackets and colons in them are no markup and no emoji.

    Where whoever read the output is gone, as after `| head`, printing raises BrokenPipeError, where rich would end the
    process.
    """

    def __init__(self, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> NoReturn:
        """Tell whoever prints."""
        raise BrokenPipeError("nobody reads the output any more")


def print_what_cannot_be_encoded() -> None:
    """Let this process's streams print what they cannot encode as escapes, where they would raise an error."""
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(AttributeError, ValueError):  # a stream of a notebook or a test
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
