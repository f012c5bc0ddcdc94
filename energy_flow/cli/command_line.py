"""The command line: parse, check, call, and leave with a code that says how it went."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
import tyro
from safetensors import SafetensorError
from tyro.extras import subcommand_cli_from_dict

from ..distributed import RankLostError
from ..training import NonFiniteError, RunTakenError, TrainingStopped
from ..utils.console import print_what_cannot_be_encoded
from . import overview
from .analyze import Analyze
from .data_build import Build
from .data_build_shipped import BuildShipped
from .data_embed import Embed
from .evaluate import Evaluate
from .explore import Explore
from .export import Export
from .info import Info
from .list_models import ListModels
from .load_model import LoadModel
from .predict import Predict
from .share import Share
from .trace import TraceFlows
from .train import Train
from .train_decoder import TrainDecoder
from .train_linear import TrainLinear
from .translate import Translate
from .unread import leave_unread

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again
NOT_WRITTEN = 74  # EX_IOERR
INTERRUPTED = 130

CONFIGURED: dict[str, Any] = {"train": Train, "info": Info}
DATA_COMMANDS: dict[str, Any] = {"build": Build, "embed": Embed, "build-shipped": BuildShipped}


def _show_data_commands() -> None:
    """Build data sets: see `energy-flow data --help`."""
    parse(["data", "--help"])


COMMANDS: dict[str, Any] = CONFIGURED | {
    "evaluate": Evaluate,
    "analyze": Analyze,
    "trace": TraceFlows,
    "predict": Predict,
    "explore": Explore,
    "list": ListModels,
    "load": LoadModel,
    "share": Share,
    "export": Export,
    "train-decoder": TrainDecoder,
    "train-linear": TrainLinear,
    "translate": Translate,
    "data": _show_data_commands,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: `energy-flow [--version] [--import MODULE] COMMAND ...`.

    Exit codes: 1 where training broke (a number, or another process of the run), 2 for what the user can mend, 74 where
    something, such as the last weights, could not be written, 75 where training was stopped and saved (go on with
    --resume auto), 130 for Ctrl-C elsewhere.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    print_what_cannot_be_encoded()
    try:
        parse(arguments)()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (ValueError, ImportError, RunTakenError) as error:
        _fail(2, str(error))
    except (NonFiniteError, RankLostError) as error:
        _fail(1, str(error))
    except TrainingStopped as stop:
        _fail(STOPPED, str(stop))
    except KeyboardInterrupt:
        _fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        leave_unread()
    except (OSError, SafetensorError) as error:
        _fail(NOT_WRITTEN, str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = str(error).rpartition(": ")[2].splitlines()[0]
        _fail(1, f"out of memory ({reason}); give a smaller model, box or batch, or fewer rows")


def parse(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for, its configuration put together by precedence, and checked.

    Raises:
        ValueError: the arguments do not fit; one line.
    """
    arguments = _import_first(list(arguments))
    if overview.is_asked_for(arguments):
        overview.show(arguments)
        sys.exit(0)
    name, rest = arguments[0], arguments[1:]
    if name in CONFIGURED:
        default = CONFIGURED[name].with_defaults(rest)
        prog = f"energy-flow {name}"
        command = _in_lines(lambda: tyro.cli(type(default), prog=prog, args=rest, default=default))
        command.check()
        return command
    commands, prog = COMMANDS, "energy-flow"
    if name == "data":
        commands, prog, arguments = DATA_COMMANDS, "energy-flow data", rest
    return _in_lines(lambda: subcommand_cli_from_dict(commands, prog=prog, args=arguments or ["--help"]))


def _import_first(arguments: list[str]) -> list[str]:
    """Import the modules of `--import MODULE` before a command, such as those that register tasks or movers."""
    while arguments[:1] == ["--import"]:
        if len(arguments) < 2:
            raise ValueError("--import: expected one argument, the name of a module")
        sys.path.insert(0, os.getcwd())
        importlib.import_module(arguments[1])
        arguments = arguments[2:]
    return arguments


class _Shown(io.StringIO):
    """What is printed, kept; whoever prints may ask it what the real output can show."""

    encoding = property(lambda self: sys.__stdout__.encoding if sys.__stdout__ else "utf-8")  # type: ignore[assignment]

    def isatty(self) -> bool:
        """Whether a terminal will show it."""
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _in_lines(parse_arguments: Callable[[], Any]) -> Any:
    """Turn tyro's boxed complaints into one line, and wrap the words above its boxes of options as those are."""
    said, shown = io.StringIO(), _Shown()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            return parse_arguments()
    except SystemExit as stop:
        if stop.code != 2:
            width = shutil.get_terminal_size().columns
            lines = shown.getvalue().splitlines()
            print("\n".join(textwrap.fill(line, width) if line[:1].isalpha() else line for line in lines))
            raise
        words = re.sub("[╭╮╰╯│─┌┐└┘]", " ", said.getvalue()).split("For full helptext")[0].split()
        raise ValueError(re.sub(r"^\w+ (error|options) (Error parsing \S+: )?", "", " ".join(words))) from None


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the computer or of the card is used up."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "alloc_cpu" in str(error)


def _fail(code: int, message: str) -> NoReturn:
    with contextlib.suppress(OSError):
        print(f"energy-flow: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
