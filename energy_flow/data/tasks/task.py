"""What a task is, and the open registry of all of them.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config import EnergyConfig, Registry
from ...config.base_config import refuse_unknown
from ..shipped import SHIPPED

RESERVED = (SHIPPED, "wordnet")  # names of other sets, to `--data` and to `data build`
MADE_HERE = "made by this package, free to use"

Sampler = Callable[[int, str, torch.Generator, torch.Generator], tuple[Tensor, Tensor]]
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Task:
    """A task: how rows are drawn and how outputs are judged.

    Attributes:
        what: input and target, in words.
        sample: N, the split (train, validation or test), the generator of the fixed parts (the same for all splits) and
            that of the rows to (N, E) inputs and (N, T) targets, floating.
        metric_name: what `metric` measures; larger is better.
        metric: (N, T) outputs and (N, T) targets to a number.
        settings: the fields of the configuration that the task needs otherwise than by default.
        licence: of the rows; it goes into the card of a set that is built.
        finite: there are so many rows and no more: `sample` may give fewer than N.
    """

    what: str
    sample: Sampler
    metric_name: str
    metric: Metric
    settings: Mapping[str, Any]
    licence: str = "not stated"
    finite: bool = False


def check_task(name: str, task: Task) -> None:
    """Refuse what cannot be registered, before anything is trained on it.

    Raises:
        ValueError: not a `Task`; the name is another data set's or a built-in task's; or the settings name a field that
            the configuration does not have.
    """
    if not isinstance(task, Task):
        raise ValueError(f"task {name!r} is a {type(task).__name__}; give a Task, from energy_flow.data")
    if name in RESERVED:
        raise ValueError(f"task {name!r}: {name} is the name of another data set; give yours another name")
    if name in TASKS and TASKS[name] != task and _is_built_in(name):
        raise ValueError(f"task {name!r} comes with the package; give yours another name")
    try:
        refuse_unknown(EnergyConfig, task.settings)
    except ValueError as error:
        raise ValueError(f"task {name!r}: settings: {error}") from None


def _is_built_in(name: str) -> bool:
    """Whether the task's sampler is that of the file here that bears its name."""
    return getattr(TASKS[name].sample, "__module__", "") == f"{__package__}.{name.replace('-', '_')}"


TASKS: Registry[Task] = Registry("data", "task", check_task)
