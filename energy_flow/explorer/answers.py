"""From what was read at every step to an answer that people can read.

Shapes: `R` read-outs, `T` output width, `S` cells of a face, `K` classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..data.tasks.maze import MARKS
from ..viz import Answer
from .given import Given
from .subject import FLOOD, MAZE, SUDOKUS, Subject

MOST_READS = 250  # of a long run, at equal distances
SHOWN_TEXTS = 6
SHOWN_NUMBERS = 1024  # of an output that is drawn as numbers


def steps_read(reads: int, steps: int) -> list[int]:
    """After which steps the read-outs of `run(along=1.0)` were made: one after each, and the last is the output.

    Args:
        reads: R, of the untrained path.
        steps: that the run took; where it was shorter, its output is repeated.
    """
    if reads <= 0:
        return []
    return [*range(1, min(reads, steps)), steps]


def answer_of(subject: Subject, given: Given, along: Tensor, steps: int) -> Answer:
    """The answer of a run.

    Args:
        subject: its data set says how outputs are read.
        given: the input and what would be right.
        along: (R, T) what was read, the output last.
        steps: of the run.
    """
    at = steps_read(len(along), steps)
    every = -(-len(at) // MOST_READS)
    kept = list(range(len(at) - 1, -1, -every))[::-1]  # the last is among them
    at, along = [at[row] for row in kept], along[kept]
    if subject.nearest is not None:
        return _texts(subject, given, along, at)
    classes = _classes(subject, along.shape[1])
    if classes and given.face is not None:
        return _cells(subject, given, along, at, classes)
    return _numbers(given, along, at)


def cells_of(subject: Subject, output: Tensor) -> Tensor | None:
    """(T,) an output to (S,) the class of every cell, where the task has classes by cells."""
    classes = _classes(subject, len(output))
    return output.view(-1, classes).argmax(1) if classes else None


def _classes(subject: Subject, width: int) -> int:
    """K, where the output is a class for each of several cells, or else 0."""
    task = subject.data.task
    if task in (MAZE, FLOOD):
        return MARKS
    if task in SUDOKUS:
        return SUDOKUS[task][0]
    classes = subject.config.target_classes or 0
    return classes if subject.face is not None and classes and width > classes else 0


def _texts(subject: Subject, given: Given, along: Tensor, at: list[int]) -> Answer:
    assert subject.nearest is not None
    found = subject.nearest(along, SHOWN_TEXTS)
    reads = [[(match.text, round(match.score, 4)) for match in matches] for matches in found]
    if given.target is None:
        curve, name = [matches[0][1] if matches else 0.0 for matches in reads], "highest cosine"
    else:
        curve = F.cosine_similarity(along, given.target.unsqueeze(0)).tolist()
        name = f"cosine with {given.target_text or 'the target'}"
    return Answer("texts", at, reads, given.target_text, curve, name)


def _cells(subject: Subject, given: Given, along: Tensor, at: list[int], classes: int) -> Answer:
    marks = along.view(len(along), -1, classes).argmax(2)  # (R, S)
    target = None if given.target is None else given.target.view(-1, classes).argmax(1)
    curve = [] if target is None else (marks == target).double().mean(1).tolist()
    task = subject.data.task or ""
    drawing, block, shown = "classes", (1, 1), []
    if task in SUDOKUS:
        digits, block = SUDOKUS[task]
        drawing, shown = "sudoku", given.row.view(-1, digits + 1).argmax(1).tolist()
    elif task == MAZE:
        drawing, shown = MAZE, given.row.flatten().tolist()
    elif task == FLOOD:
        drawing, shown = FLOOD, given.row.view(marks.shape[1], -1).argmax(1).tolist()
    known = None if target is None else target.tolist()
    name = "share of cells as in the target"
    return Answer("cells", at, marks.tolist(), known, curve, name, drawing, given.face, shown, block)


def _numbers(given: Given, along: Tensor, at: list[int]) -> Answer:
    shown = along[:, :SHOWN_NUMBERS]
    if given.target is None:
        curve, name, target = along.square().mean(1).sqrt().tolist(), "RMS of the output", None
    else:
        curve = (along - given.target).square().mean(1).sqrt().tolist()
        name, target = "RMS error to the target", given.target[:SHOWN_NUMBERS].tolist()
    return Answer("numbers", at, shown.tolist(), target, curve, name)
