"""What a model would answer at every step of a run, in the form in which people read it.

Shapes: `R` read-outs, `S` cells of a face, `T` width of the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KINDS = ("texts", "cells", "numbers")
DRAWINGS = ("maze", "sudoku", "flood", "classes")


@dataclass(frozen=True)
class Answer:
    """The read-outs of one sample.

    Attributes:
        kind: `texts` (nearest texts with scores), `cells` (a class for each cell) or `numbers` (the output itself).
        steps: R steps after which it was read, rising.
        reads: of each, the texts as (text, score) pairs, the best first; or S classes; or T numbers.
        target: what would be right, in the form of a read-out (of texts: the text); None where nobody knows.
        curve: R numbers to draw over the steps, or none.
        curve_name: what they measure.
        drawing: how cells are drawn: `maze`, `sudoku`, `flood` or `classes`.
        face: columns and rows of the cells.
        given: the input as the drawing wants it: 6 S numbers of a maze, the digits of a sudoku (0 is a blank), the
            kinds of a flood's cells.
        block: columns and rows of a sudoku's boxes.

    Raises:
        ValueError: another kind or drawing, or read-outs, steps and curve of different lengths.
    """

    kind: str
    steps: Sequence[int]
    reads: Sequence[Any]
    target: Any = None
    curve: Sequence[float] = ()
    curve_name: str = ""
    drawing: str = "classes"
    face: tuple[int, int] | None = None
    given: Sequence[float] = ()
    block: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name, value, known in (("kind", self.kind, KINDS), ("drawing", self.drawing, DRAWINGS)):
            if value not in known:
                raise ValueError(f"{name} = {value!r}; give one of {', '.join(known)}")
        if len(self.reads) != len(self.steps) or len(self.curve) not in (0, len(self.steps)):
            raise ValueError(
                f"{len(self.steps)} steps, {len(self.reads)} reads and {len(self.curve)} numbers of the curve; give "
                "one of each for every read-out, or no curve"
            )
        if self.kind == "cells" and self.face is None:
            raise ValueError("face = None; cells have columns and rows, such as (5, 5)")

    def to_dict(self) -> Mapping[str, Any]:
        """As the page reads it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
