"""What is explored: one model or several, the data set that its inputs come from, and how people write an input.

Shapes: `E` input width, `S` cells of a face.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..config import FACES, EnergyConfig
from ..core import FlowProcessor
from ..data import TASKS, PairData, PairSet, parts_of
from ..data.pairs import Size
from ..text import NearestTexts, TextEncoder, encoders_of

MAZE, FLOOD = "maze", "flood"
SUDOKUS = {"sudoku-4": (4, (2, 2)), "sudoku-6": (6, (3, 2))}  # digits, and columns and rows of a box


@dataclass(frozen=True)
class Model:
    """A model under the name that the page shows, ready to run: on its device and in `eval()`."""

    name: str
    processor: FlowProcessor


class Subject:
    """Models and data.

    Args:
        models: the first is what the page starts with; all have the widths of the first.
        data: its test rows can be picked, and its texts are what outputs are decoded to.

    Raises:
        ValueError: no model, two of one name, or widths that do not fit together.
    """

    def __init__(self, models: Sequence[Model], data: PairData) -> None:
        if not models:
            raise ValueError("no model; give at least one run or model folder")
        if len({model.name for model in models}) < len(models):
            raise ValueError(f"models: {[model.name for model in models]}; give each folder once")
        self.models, self.data = tuple(models), data
        self.parts = parts_of(data.test)
        for model in models:
            _check_widths(model, data, self.parts)

    @property
    def config(self) -> EnergyConfig:
        """The configuration of the first model."""
        return self.models[0].processor.config

    def model(self, number: int) -> Model:
        """A model by its number.

        Raises:
            ValueError: there is none.
        """
        if not 0 <= number < len(self.models):
            raise ValueError(f"model = {number}; there are {len(self.models)}, numbered from 0")
        return self.models[number]

    def row(self, number: int) -> tuple[PairSet, int]:
        """A test row by its number through all sizes: the rows of its size, and its place among them.

        Raises:
            ValueError: there is none.
        """
        if number < 0:
            raise ValueError(f"row = {number}; rows are numbered from 0")
        place = number
        for part in self.parts:
            if place < len(part):
                return part, place
            place -= len(part)
        raise ValueError(f"row = {number}; {self.data.name} has {self.row_count} test rows")

    @property
    def row_count(self) -> int:
        """Test rows of all sizes."""
        return sum(len(part) for part in self.parts)

    @property
    def editor(self) -> str:
        """How an input is written: `text`, `maze`, `flood`, `sudoku` or `numbers`."""
        if self.data.task in (MAZE, FLOOD):
            return self.data.task
        if self.data.task in SUDOKUS:
            return "sudoku"
        return "text" if self.data.encoders else "numbers"

    @property
    def face_is_free(self) -> bool:
        """Whether a maze or a flood of any size may be written."""
        tied = all(FACES[model.processor.config.mapping].tied for model in self.models)
        return tied and self.data.task is not None and bool(TASKS[self.data.task].train_sizes)

    @property
    def face(self) -> Size | None:
        """Columns and rows of the cells of the first rows, where they have some."""
        if self.data.task in SUDOKUS:
            digits = SUDOKUS[self.data.task][0]
            return (digits, digits)
        return self.parts[0].face

    @cached_property
    def nearest(self) -> NearestTexts | None:
        """The search for texts near an output, where the data set has texts of this width."""
        bank = self.data.bank
        if bank is None or bank.embeddings.shape[1] != self.config.output_embedding_dim:
            return None
        return NearestTexts(bank.texts, bank.embeddings)

    @cached_property
    def encoder(self) -> TextEncoder:
        """Of the texts that people write.

        Raises:
            ImportError: the extra `text` is not installed.
            ValueError: inputs of this data set are no texts.
        """
        encoders = encoders_of(self.data)
        if encoders is None:
            raise ValueError(f"{self.data.name} has no texts; pick a row, or write numbers")
        return encoders[0]

    def warm_up(self) -> None:
        """Load what the first request would otherwise wait for: the texts, and the encoder where it is installed."""
        _ = self.nearest
        if self.data.encoders and importlib.util.find_spec("sentence_transformers") is not None:
            self.encoder(["warm"])

    def describe(self) -> dict[str, Any]:
        """What the page must know before it asks for a run."""
        config, digits = self.config, SUDOKUS.get(self.data.task or "", (0, (1, 1)))
        return {
            "data": self.data.name,
            "editor": self.editor,
            "rows": self.row_count,
            "face": self.face,
            "face_is_free": self.face_is_free,
            "digits": digits[0],
            "block": digits[1],
            "width": config.input_embedding_dim,
            "models": [
                {
                    "name": model.name,
                    "box": model.processor.config.box,
                    "sites": model.processor.config.sites,
                    "any_box": FACES[model.processor.config.mapping].tied,
                }
                for model in self.models
            ],
        }


def _check_widths(model: Model, data: PairData, parts: Sequence[PairSet]) -> None:
    config, part = model.processor.config, parts[0]
    cells = config.num_sites
    own = (config.input_embedding_dim, config.output_embedding_dim)
    found = (part.inputs.shape[1], part.targets.shape[1])
    if FACES[config.mapping].tied and part.face is not None:  # widths grow with the face
        there = part.face[0] * part.face[1]
        own, found = (own[0] * there, own[1] * there), (found[0] * cells, found[1] * cells)
    if own != found:
        raise ValueError(
            f"{model.name} maps {config.input_embedding_dim} numbers to {config.output_embedding_dim}, and the rows of "
            f"{data.name} have {part.inputs.shape[1]} and {part.targets.shape[1]}; give --data as in training"
        )
