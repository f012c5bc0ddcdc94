"""What a task is, and the open registry of all of them.

Shapes: `N` rows, `E` input width, `T` target width. A face is columns and rows of cells, one site for each cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...config import EnergyConfig, Registry
from ...config.base_config import refuse_unknown
from ..pairs import Size, check_size
from ..shipped import SHIPPED

RESERVED = (SHIPPED, "wordnet")  # names of other sets, to `--data` and to `data build`
MADE_HERE = "made by this package, free to use"

Sampler = Callable[..., tuple[Tensor, Tensor]]  # N, split, fixed, random; face=..., and the options by their names
Metric = Callable[[Tensor, Tensor], float]
Judge = Callable[[Tensor, Tensor, Tensor, Size], float]
Draw = Callable[[Tensor, Tensor, Size, bool], str]
Waiting = Callable[[Tensor, Size, torch.Generator], Tensor]  # (N, E) inputs, face, random to (N, E)
OfRows = Callable[[Tensor, Tensor], Tensor]  # (N, E) inputs and (N, T) targets to (N,)


@dataclass(frozen=True)
class Sizes:
    """The faces that the rows of each split are drawn for; several of one split share its rows evenly.

    Raises:
        ValueError: a split without a face, one face twice, or what is no face.
    """

    train: tuple[Size, ...]
    validation: tuple[Size, ...]
    test: tuple[Size, ...]

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            check_faces(f"sizes: {split}", getattr(self, split))

    @classmethod
    def one(cls, face: Size) -> Sizes:
        """The same face for all splits."""
        return cls((face,), (face,), (face,))


@dataclass(frozen=True)
class Task:
    """A task: how rows are drawn and how outputs are judged.

    Attributes:
        what: input and target, in words.
        sample: N, the split (train, validation, test, or one of `extra_splits`), the generator of the fixed parts (the
            same for all splits) and that of the rows to (N, E) inputs and (N, T) targets, floating. A task that has
            `train_sizes` gets `face=`, and every task its options, by their names.
        metric_name: what `metric` measures; larger is better.
        metric: (N, T) outputs and (N, T) targets to a number.
        settings: the fields of the configuration that the task needs otherwise than by default.
        licence: of the rows; it goes into the card of a set that is built.
        finite: there are so many rows and no more: `sample` may give fewer than N.
        face: the face of rows of one size; None where numbers belong to no cells.
        train_sizes: the faces to train on, where the size is free; a task without them has its `face` alone.
        test_sizes: the faces to be judged at.
        options: further arguments of `sample` by their names, with the values they have by default.
        extra_splits: splits to be judged at, besides validation and test; `make_split` draws them.
        judge: (N, E) inputs, (N, T) outputs, (N, T) targets and their face to a number, where an output can be right
            otherwise than by being the target; it has the name of the metric.
        draw: one input (E,), one output (T,), their face, and whether the picture is of plain ASCII, to a picture in
            text.
        waiting: (N, E) inputs, their face and a random generator to (N, E) inputs on which there is nothing to do yet;
            training may let a batch wait on them before its own inputs enter (`prelude_steps`).
        rows: of training, where the task is asked for by its name alone.
        label: (N, E) inputs and (N, T) targets to (N,) int64: the class of every row, where rows fall into classes;
            an analysis asks what the routes of flows tell about it.
        difficulty: (N, E) inputs and (N, T) targets to (N,) numbers: how hard every row is, where that is known.
    """

    what: str
    sample: Sampler
    metric_name: str
    metric: Metric
    settings: Mapping[str, Any]
    licence: str = "not stated"
    finite: bool = False
    face: Size | None = None
    train_sizes: tuple[Size, ...] = ()
    test_sizes: tuple[Size, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    extra_splits: tuple[str, ...] = ()
    judge: Judge | None = None
    draw: Draw | None = None
    waiting: Waiting | None = None
    rows: int | None = None
    label: OfRows | None = None
    difficulty: OfRows | None = None

    @property
    def sizes(self) -> Sizes:
        """The faces of the task as it is meant: trained and validated on `train_sizes`, tested at `test_sizes`.

        Raises:
            ValueError: the size of the task is not free.
        """
        return Sizes(self.train_sizes, self.train_sizes, self.test_sizes)

    def score(self, inputs: Tensor, outputs: Tensor, targets: Tensor, face: Size | None = None) -> float:
        """What the task is judged by: `judge` where there is one and the face is known, or else `metric`.

        Args:
            inputs: (N, E).
            outputs: (N, T).
            targets: (N, T).
            face: of these rows, such as `PairSet.face`.
        """
        if self.judge is None or face is None:
            return self.metric(outputs, targets)
        return self.judge(inputs, outputs, targets, face)


def check_task(name: str, task: Task) -> None:
    """Refuse what cannot be registered, before anything is trained on it.

    Raises:
        ValueError: not a `Task`; the name is another data set's or a built-in task's; or the settings name a field that
            the configuration does not have; or its sizes do not fit together.
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
    _check_sizes(name, task)


def check_faces(name: str, faces: tuple[Size, ...]) -> None:
    """Refuse what are not the faces of a split, with a ValueError."""
    for face in faces:
        check_size(name, face)
    if not faces or len(set(faces)) < len(faces):
        raise ValueError(f"{name} = {faces!r}; give one face at least, and each once")


def check_share(name: str, share: float) -> None:
    """Refuse an option that is no share, with a ValueError."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} = {share}; give a share from 0 to 1")


def check_line(name: str, face: Size) -> None:
    """Refuse a face that is no line of cells, with a ValueError."""
    if face[1] != 1:
        raise ValueError(f"{name} = {face}: a chain is one row of cells; give ({face[0] * face[1]}, 1)")


def _check_sizes(name: str, task: Task) -> None:
    if task.face is not None:
        check_size(f"task {name!r}: face", task.face)
    if bool(task.train_sizes) != bool(task.test_sizes) or (task.train_sizes and task.face is None):
        raise ValueError(f"task {name!r}: give face, train_sizes and test_sizes where the size is free, or face alone")
    if task.train_sizes:
        try:
            _ = task.sizes
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None


def _is_built_in(name: str) -> bool:
    """Whether the task's sampler is that of the file here that bears its name."""
    return getattr(TASKS[name].sample, "__module__", "") == f"{__package__}.{name.replace('-', '_')}"


TASKS: Registry[Task] = Registry("data", "task", check_task)
