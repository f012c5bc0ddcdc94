"""The command line, one file a command."""

import sys

try:
    import tyro as _tyro  # noqa: F401  (all commands need it)
except ImportError:
    sys.exit("energy-flow: error: the command line needs tyro: pip install 'energy-flow[cli]'")

from ..training import ProgressBar
from .main import main, parse
from .train import Train

__all__ = ["ProgressBar", "Train", "main", "parse"]
