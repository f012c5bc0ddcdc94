"""The command line, one file a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import overview

try:
    import tyro as _tyro  # noqa: F401  (all commands need it)
except ImportError:
    sys.exit("energy-flow: error: the command line needs tyro: pip install 'energy-flow[cli]'")

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, as `command_line.main` does; what needs no command does not wait for torch."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if overview.is_asked_for(arguments):
        overview.show(arguments)
    else:
        from .command_line import main as run

        run(arguments)
