"""From what people write to a row of the model, and what would be right for it.

Shapes: `E` input width, `T` target width, `S` cells of a face.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.pairs import Size
from ..data.tasks.grid import UNREACHED, WAYS, back, distances, neighbours
from ..data.tasks.maze import CELL_WIDTH, GOAL, START
from .given import Given
from .requests import AnyInput, NumbersInput, RowInput, SudokuInput, TextInput
from .subject import FLOOD, MAZE, SUDOKUS, Subject


def read_input(subject: Subject, wanted: AnyInput) -> Given:
    """The row that a request asks for.

    Raises:
        ValueError: no such row, numbers of another width, or a maze or sudoku that is none.
        ImportError: a text, and the extra `text` is not installed.
    """
    if isinstance(wanted, RowInput):
        return _test_row(subject, wanted.row)
    if isinstance(wanted, TextInput):
        return Given(subject.encoder([wanted.text]), wanted.text[:80])
    if isinstance(wanted, SudokuInput):
        return _sudoku(subject, wanted)
    return _numbers(subject, wanted)


def _test_row(subject: Subject, number: int) -> Given:
    part, place = subject.row(number)
    texts = part.input_texts[place] if part.input_texts else f"test row {number}"
    target_text = part.target_texts[place] if part.target_texts else None
    target = part.targets[place : place + 1][0]
    return Given(part.inputs[place : place + 1], texts, part.face or subject.face, target, target_text)


def _numbers(subject: Subject, wanted: NumbersInput) -> Given:
    row, face = torch.tensor([wanted.numbers]), wanted.face or subject.face
    expected = _width_for(subject, face)
    if row.shape[1] != expected:
        raise ValueError(f"numbers: {row.shape[1]} of them, the model takes {expected} for this face; give so many")
    if not torch.isfinite(row).all():
        raise ValueError("numbers: one is beyond what float32 holds; give smaller ones")
    if subject.data.task == MAZE:
        assert face is not None  # a maze has one
        return Given(row, "your maze", face, _way(row, face))
    if subject.data.task == FLOOD:
        return Given(row, "your flood", face)
    return Given(row, "your numbers", face)


def _width_for(subject: Subject, face: Size | None) -> int:
    part = subject.parts[0]
    width = part.inputs.shape[1]
    if face is None or part.face is None or face == part.face:
        return width
    if not subject.face_is_free:
        raise ValueError(f"face = {face}; this model and task have the face {part.face} alone")
    return width // (part.face[0] * part.face[1]) * face[0] * face[1]


def _sudoku(subject: Subject, wanted: SudokuInput) -> Given:
    if subject.data.task not in SUDOKUS:
        raise ValueError(f"{subject.data.name} is no sudoku; pick a row of it")
    digits, _ = SUDOKUS[subject.data.task]
    if len(wanted.digits) != digits**2 or max(wanted.digits) > digits:
        raise ValueError(f"digits: give {digits**2} of them, 0 to {digits}")
    row = torch.eye(digits + 1)[torch.tensor(wanted.digits)].flatten().unsqueeze(0)
    return Given(row, "your sudoku", (digits, digits))


def _way(row: Tensor, face: Size) -> Tensor | None:
    """(2 S,) the marks of a written maze where it has one shortest way, or else None.

    Raises:
        ValueError: not one start and one goal, a wall that only one of its cells has, or a way beyond the edge.
    """
    cells = row.view(-1, CELL_WIDTH)
    if not torch.isin(cells, torch.tensor([0.0, 1.0])).all():
        raise ValueError("numbers: those of a maze are 0 or 1")
    for name, place in (("start", START), ("goal", GOAL)):
        if cells[:, place].sum() != 1:
            raise ValueError(f"{name}: {int(cells[:, place].sum())} of them; a maze has one")
    openings, beside = cells[:, : len(WAYS)] > 0.5, neighbours(face)
    here, way = openings.nonzero(as_tuple=True)
    there = beside[here, way]
    if (there == len(beside)).any():
        raise ValueError("openings: one leads beyond the edge; close the outer walls")
    if not openings[there, back(way)].all():
        raise ValueError("openings: a wall is open on one side alone; open both")
    ends = cells[:, START].argmax().view(1), cells[:, GOAL].argmax().view(1)
    from_start, from_goal = (distances(openings.unsqueeze(0), beside, end)[0] for end in ends)
    length = from_start[ends[1]]
    if length == UNREACHED:
        return None
    on_a_way = (from_start + from_goal == length) & (from_start != UNREACHED)
    if on_a_way.sum() != length + 1:  # several ways are shortest
        return None
    return torch.eye(2)[on_a_way.long()].flatten()
