"""What a command makes of the model that it is given: a run, a model folder, or the name of a model of the package."""

from __future__ import annotations

from pathlib import Path

from ..data.sources import SHIPPED
from ..models import facts_of, model_path
from ..training.model_folder import CONFIG


def run_folder(run: Path) -> Path:
    """The folder of a run, where that of its best or last weights may be given.

    Raises:
        ValueError: it is a file.
    """
    if run.is_file():
        raise ValueError(f"{run} is a file; give a run folder, a model folder such as RUN/best, or a model's name")
    return run.parent if run.name in {"best", "last"} else run


def model_folder(run: Path) -> Path:
    """Where the weights are: a run's best, those in the folder itself, or those of the package's model of this name."""
    return run / "best" if (run / "best" / CONFIG).is_file() else model_path(run)


def comes_with_package(run: Path) -> bool:
    """Whether it is a name of the package's and no folder of the user's."""
    return not (run / "best" / CONFIG).is_file() and model_path(run) != run.expanduser()


def data_of(run: Path, given: str | None) -> str:
    """The data set that was asked for; by default a package's model has its own, and others have `shipped`."""
    if given is not None:
        return given
    return facts_of(str(run))["data"] if comes_with_package(run) else SHIPPED


def home_of_results(run: Path) -> Path:
    """Where a command writes what it found: the folder of the run, or for a model of the package the current one."""
    return Path() if comes_with_package(run) else run_folder(run)
