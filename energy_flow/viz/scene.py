"""A trace as the page draws it: its records as packed arrays, and what belongs to each sample.

Shapes: `R` records, in order of time.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .answer import Answer

FORMAT = 1  # viewer/src/scene.js reads it
PACKED = {  # little-endian, as browsers have them
    "step": "<u2",
    "sample": "<u2",
    "flow": "<u4",
    "parent": "<i4",
    "x": "<f4",
    "y": "<f4",
    "z": "<f4",
    "level": "<f4",
    "mass": "<f4",
    "event": "u1",
}
MOST = 65_535  # steps, and samples
UNNAMED_CLASSES = 64  # more labels than these, unnamed, are numbers and no classes


class Records(Protocol):
    """What a scene needs of a trace: `energy_flow.analysis.Trace` has it."""

    @property
    def box(self) -> Sequence[int]:
        """Cells along x, y and z."""
        ...

    @property
    def sites(self) -> Sequence[int]:
        """Columns and rows of sites."""
        ...

    @property
    def step(self) -> Tensor:
        """(R,) int64."""
        ...

    @property
    def sample(self) -> Tensor:
        """(R,) int64."""
        ...

    @property
    def flow_id(self) -> Tensor:
        """(R,) int64."""
        ...

    @property
    def parent_id(self) -> Tensor:
        """(R,) int64."""
        ...

    @property
    def position(self) -> Tensor:
        """(R, 3) cells."""
        ...

    @property
    def level(self) -> Tensor:
        """(R,)."""
        ...

    @property
    def mass(self) -> Tensor:
        """(R,)."""
        ...

    @property
    def event(self) -> Tensor:
        """(R,) int64."""
        ...


@dataclass(frozen=True)
class SampleNote:
    """What belongs to one sample of a scene.

    Attributes:
        name: what it is called.
        label: the number of its class, or None.
        answer: what would be read at every step, or None.
    """

    name: str
    label: int | None = None
    answer: Answer | None = None


@dataclass(frozen=True)
class Scene:
    """Flows of one sample or of several in one box, ready to be drawn.

    Attributes:
        box: cells along x, y and z.
        sites: columns and rows of a face.
        records: (R,) arrays by the names in `PACKED`; samples are numbered from 0.
        samples: a note for each sample.
        classes: names of the labels.
        title: a line above the picture.
        subtitle: a smaller one beside it.
    """

    box: tuple[int, int, int]
    sites: tuple[int, int]
    records: Mapping[str, np.ndarray]
    samples: tuple[SampleNote, ...]
    classes: tuple[str, ...] = ()
    title: str = ""
    subtitle: str = ""

    @classmethod
    def of(
        cls,
        trace: Records,
        *,
        title: str = "",
        subtitle: str = "",
        names: Mapping[int, str] | None = None,
        labels: Mapping[int, int] | None = None,
        classes: Sequence[str] = (),
        answers: Mapping[int, Answer] | None = None,
    ) -> Scene:
        """The scene of a trace.

        Args:
            trace: every flow of some samples at every step.
            title: a line above the picture.
            subtitle: a smaller one beside it.
            names: of samples, by their numbers in the trace; by default `sample 3`.
            labels: the class of samples, 0 or more, by their numbers.
            classes: the names of these labels; by default their numbers.
            answers: what would be read at every step, by the numbers of samples.

        Raises:
            ValueError: no record, more steps or samples than 65 535, a label that has no name, or a note for a sample
                that the trace has not.
        """
        step, sample = _numbers(trace.step), _numbers(trace.sample)
        if not len(step):
            raise ValueError("trace has no record; give a trace of at least one sample")
        found, place = np.unique(sample, return_inverse=True)
        for name, value in (("steps", int(step.max())), ("samples", len(found))):
            if value > MOST:
                raise ValueError(f"trace has {value} {name}; a page shows at most {MOST}: give fewer samples")
        names, labels, answers = names or {}, labels or {}, answers or {}
        for name, notes in (("names", names), ("labels", labels), ("answers", answers)):
            unknown = set(notes) - set(found.tolist())
            if unknown:
                raise ValueError(f"{name}: the trace has no sample {min(unknown)}; its samples are {found.tolist()}")
        order = np.argsort(step, kind="stable")
        position = trace.position.detach().float().cpu().numpy()
        columns = {
            "step": step,
            "sample": place,
            "flow": _numbers(trace.flow_id),
            "parent": _numbers(trace.parent_id),
            **{axis: position[:, index] for index, axis in enumerate("xyz")},
            "level": trace.level.detach().float().cpu().numpy(),
            "mass": trace.mass.detach().float().cpu().numpy(),
            "event": _numbers(trace.event),
        }
        return cls(
            box=_whole(trace.box, 3),
            sites=_whole(trace.sites, 2),
            records={name: columns[name][order].astype(kind) for name, kind in PACKED.items()},
            samples=tuple(
                SampleNote(names.get(one, f"sample {one}"), labels.get(one), answers.get(one)) for one in found.tolist()
            ),
            classes=_class_names(labels, classes),
            title=title,
            subtitle=subtitle,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it: arrays in base64."""
        return {
            "format": FORMAT,
            "title": self.title,
            "subtitle": self.subtitle,
            "box": list(self.box),
            "sites": list(self.sites),
            "classes": list(self.classes),
            "samples": [
                {
                    "name": note.name,
                    "label": note.label,
                    "answer": None if note.answer is None else dict(note.answer.to_dict()),
                }
                for note in self.samples
            ],
            "records": {
                name: base64.b64encode(values.tobytes()).decode("ascii") for name, values in self.records.items()
            },
        }


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().to("cpu", torch.int64).numpy()


def _whole(numbers: Sequence[int], count: int) -> Any:
    found = tuple(int(number) for number in numbers)
    assert len(found) == count
    return found


def _class_names(labels: Mapping[int, int], classes: Sequence[str]) -> tuple[str, ...]:
    highest = max(labels.values(), default=-1)
    if min(labels.values(), default=0) < 0:
        raise ValueError(f"labels: {min(labels.values())} is below 0; give the numbers of classes, from 0")
    if classes and highest >= len(classes):
        raise ValueError(f"labels: {highest} has no name among {len(classes)} classes; give a name for each label")
    if not classes and highest >= UNNAMED_CLASSES:
        raise ValueError(f"labels: {highest} is no class among few; give labels below {UNNAMED_CLASSES}, or classes")
    return tuple(classes) or tuple(f"class {number}" for number in range(highest + 1))
