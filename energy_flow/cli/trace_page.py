"""The page of a trace: the flows of a few samples, with what would be read at every step.

Shapes: `N` samples.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..analysis import Trace
from ..analysis.labels import labels_of
from ..core import FlowProcessor
from ..data import TASKS, PairData, PairSet
from ..explorer import Model, Subject
from ..explorer.answers import answer_of
from ..explorer.given import Given
from ..viz import Scene, write_page

MOST_SAMPLES = 32
MOST_RECORDS = 400_000


@torch.no_grad()
def write_trace_page(path: Path, processor: FlowProcessor, data: PairData, pairs: PairSet, chosen: Tensor) -> None:
    """Write a page of some samples, with their classes where the task has some.

    Args:
        path: the file.
        processor: the model in the box of the samples.
        data: the set, by whose texts or task outputs are read.
        pairs: rows of the set.
        chosen: (N,) int64, which rows.

    Raises:
        ValueError: more samples, or more records, than a page shows.
    """
    if len(chosen) > MOST_SAMPLES:
        raise ValueError(f"--page shows at most {MOST_SAMPLES} samples, and --samples asks for {len(chosen)}")
    rows, subject = pairs.subset(chosen), Subject([Model("model", processor.eval())], data)
    weight = next(processor.parameters())
    result = processor.run(rows.inputs[:].to(weight.device, weight.dtype), record=True, along=1.0)
    trace = Trace.of(result, processor.config)
    if len(trace) > MOST_RECORDS:
        raise ValueError(
            f"--page shows at most {MOST_RECORDS:,} records, these are {len(trace):,}; give fewer --samples"
        )
    assert result.along is not None
    notes = [_given(rows, place, int(row), subject) for place, row in enumerate(chosen)]
    answers = {
        int(row): answer_of(subject, notes[place], result.along[:, place].float().cpu(), result.stats.steps)
        for place, row in enumerate(chosen)
    }
    labels, classes = _classes(pairs, chosen, data)
    scene = Scene.of(
        trace.numbered(chosen),
        title=data.name,
        subtitle=f"{len(chosen)} samples in a box of {processor.config.box}",
        names={int(row): note.name for row, note in zip(chosen, notes, strict=True)},
        labels=labels,
        classes=classes,
        answers=answers,
    )
    write_page(path, scene)


def _given(rows: PairSet, place: int, row: int, subject: Subject) -> Given:
    one = slice(place, place + 1)
    name = rows.input_texts[place] if rows.input_texts else f"row {row}"
    text = rows.target_texts[place] if rows.target_texts else None
    return Given(rows.inputs[one], name, rows.face or subject.face, rows.targets[one][0], text)


def _classes(pairs: PairSet, chosen: Tensor, data: PairData) -> tuple[dict[int, int], list[str]]:
    """The class of each sample and the names of classes, where the task has some."""
    if data.task is None or TASKS[data.task].label is None:
        return {}, []
    labels = labels_of(pairs, data.task)
    return {int(row): int(labels.values[row]) for row in chosen}, [f"class {one}" for one in range(labels.classes)]
