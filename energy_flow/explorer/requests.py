"""What the page may ask for; everything that comes in is checked against these shapes first."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

LONGEST_TEXT = 5000  # characters
MOST_NUMBERS = 50_000  # of an input row
MOST_CELLS = 20_000  # of a lesion
MOST_HANDS = 20  # interventions at once

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Cell = tuple[Count, Count, Count]
Face = tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]]


class Closed(BaseModel):
    """A request that has these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RowInput(Closed):
    """A test row by its number."""

    kind: Literal["row"]
    row: Count


class TextInput(Closed):
    """A text to be embedded."""

    kind: Literal["text"]
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class NumbersInput(Closed):
    """The numbers themselves, for a face of so many cells where they belong to cells."""

    kind: Literal["numbers"]
    numbers: Annotated[list[FiniteFloat], Field(min_length=1, max_length=MOST_NUMBERS)]
    face: Face | None = None


class SudokuInput(Closed):
    """The digits of a sudoku, row by row; 0 is a blank."""

    kind: Literal["sudoku"]
    digits: Annotated[list[Annotated[int, Field(ge=0, le=9)]], Field(min_length=1, max_length=81)]


class Hand(Closed):
    """An intervention on chosen flows in chosen steps; without a choice on all."""

    flows: Annotated[list[Count], Field(max_length=MOST_CELLS)] | None = None
    steps: Annotated[list[Count], Field(max_length=MOST_CELLS)] | None = None


class Block(Hand):
    """A flow that would enter one of the cells fades, or goes straight ahead."""

    kind: Literal["block"]
    cells: Annotated[list[Cell], Field(min_length=1, max_length=MOST_CELLS)]
    otherwise: Literal["fade", "straight"] = "fade"


class Cut(Hand):
    """Flows fade."""

    kind: Literal["cut"]


class Still(Hand):
    """Flows keep their energy and go straight ahead."""

    kind: Literal["freeze"]


class Routes(Hand):
    """Flows take the places that they had in an earlier run."""

    kind: Literal["replay"]
    run: Annotated[str, Field(max_length=64)]


class Noise(Hand):
    """Normal noise on the energies after every step."""

    kind: Literal["noise"]
    std: Annotated[FiniteFloat, Field(ge=0, le=1000)]
    seed: Count = 0


AnyInput = Annotated[RowInput | TextInput | NumbersInput | SudokuInput, Field(discriminator="kind")]
AnyHand = Annotated[Block | Cut | Still | Routes | Noise, Field(discriminator="kind")]


class RunRequest(Closed):
    """One input through one model in one box, with interventions or without."""

    input: AnyInput
    model: Count = 0
    box: Cell | None = None
    hands: Annotated[list[AnyHand], Field(max_length=MOST_HANDS)] = []
    against: Annotated[str, Field(max_length=64)] | None = None
