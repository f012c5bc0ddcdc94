"""`energy-flow --help` and `energy-flow --version`, which load neither torch nor any command."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from .. import __version__
from .unread import leave_unread

GROUPS: dict[str, dict[str, str]] = {
    "Trained models": {
        "list": "List the trained models that come with the package, with what they score.",
        "load": "Copy one of them, or one of the hub, to a folder.",
        "share": "Write a model with a card of what it scores, to a folder or to the hub.",
        "export": "Write a model as an ONNX file.",
    },
    "Train": {
        "train": "Train a model: on the shipped data, a task, or a data set of yours.",
        "info": "Show what a preset is and costs: parameters, memory, FLOPs.",
        "train-decoder": "Train a decoder that writes texts from embeddings.",
        "train-linear": "Solve a linear map on the training pairs.",
        "data": "Build data sets, and embed texts.",
    },
    "Use": {
        "evaluate": "Judge a model on a split of a data set, beside the input itself.",
        "predict": "Send texts, vectors or test examples through a model, and decode them.",
        "translate": "Bring the vectors of a store into another space, in place.",
    },
    "See": {
        "explore": "Serve a local page: watch the flows of a model, cut, freeze or replay them.",
        "trace": "Write every flow at every step to Parquet, or to an HTML page.",
        "analyze": "Measure what the flows do beside three nulls, and whether their routes matter.",
    },
}
USAGE = "usage: energy-flow [--help] [--version] [--import MODULE] COMMAND ..."
MORE = (
    "energy-flow COMMAND --help shows what a command takes. --import MODULE imports a module of yours first, such as "
    "one that registers a task."
)


def is_asked_for(arguments: Sequence[str]) -> bool:
    """Whether no command is named."""
    return not arguments or arguments[0] in ("-h", "--help", "--version")


def show(arguments: Sequence[str]) -> None:
    """Print the version, or all commands in lines that fit the terminal."""
    try:
        print(f"energy-flow {__version__}" if arguments and arguments[0] == "--version" else _text(), flush=True)
    except BrokenPipeError:
        leave_unread()


def _text() -> str:
    width = min(shutil.get_terminal_size().columns, 100)
    lines = [USAGE]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, words in commands.items():
            lines += textwrap.wrap(words, width, initial_indent=f"  {name:<15}", subsequent_indent=" " * 17)
    return "\n".join([*lines, "", *textwrap.wrap(MORE, width)])
