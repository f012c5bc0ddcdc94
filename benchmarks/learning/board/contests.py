"""What is learned, and with which recipe: one entry a task. All systems of a task have the same rows and recipe.

A recipe is a configuration of the lattice; from it the others take batch, steps, losses, read-outs along the way,
preludes, decay, average and schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.learning.delivery import LARGE
from benchmarks.learning.synthetic_tasks import CONFIG
from energy_flow.config.presets import PRESETS
from energy_flow.data.pairs import Size


class Trial(NamedTuple):
    """Rows to be judged at."""

    rows: int
    face: Size | None = None  # None is the task's own
    split: str = "test"
    steps: int | None = None  # of the lattice and of those that loop; None is as many as the lattice's box asks for

    @property
    def name(self) -> str:
        """What the tables call it."""
        size = f"{self.face[0]}x{self.face[1]}" if self.face else ""
        return " ".join(part for part in (self.split if self.split != "test" or not size else "", size) if part)


@dataclass(frozen=True)
class Contest:
    """A task, what trains on it, and where it is judged.

    Attributes:
        task: its name in `TASKS`; None is a set of texts.
        recipe: the lattice's configuration, but for what the data decides.
        steps: training steps; 0 is as many as the epochs of the recipe take.
        rows: of the training set, which is gone through more than once; 0 draws new rows for every step.
        trials: where it is judged.
        validation_rows: of all sizes together.
        train_faces: where they are others than the task's own face.
        options: of the task.
        rivals: what networks have otherwise than the recipe, such as steps where the lattice needs few.
    """

    task: str | None
    recipe: Mapping[str, Any]
    steps: int = 1500
    rows: int = 0
    trials: tuple[Trial, ...] = (Trial(2000),)
    validation_rows: int = 2000
    train_faces: tuple[Size, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    rivals: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sized(self) -> bool:
        """Whether rows differ in size, so that no matrix over whole rows fits all of them."""
        return len({*self.train_faces, *(trial.face for trial in self.trials)} - {None}) > 1


def square(rows: int, *sides: int) -> tuple[Trial, ...]:
    """Trials on square faces."""
    return tuple(Trial(rows, (side, side)) for side in sides)


def line(rows: int, *lengths: int) -> tuple[Trial, ...]:
    """Trials on chains."""
    return tuple(Trial(rows, (length, 1)) for length in lengths)


def grid(cells: int, steps: int = 24, **changes: Any) -> dict[str, Any]:
    """The preset `grid` with a flow for each of so many cells, and so many steps at the task's own face."""
    return (
        PRESETS["grid"]
        | {
            "max_active_flows": cells,
            "lattice_depth": steps + 1,
            "initial_steps": steps,
        }
        | changes
    )


FIXED = {"prelude_steps": 0}  # of tasks that are judged at the size, and with the steps, of training
LOOPS = {"lattice_depth": 17, "initial_steps": 16, "loss_along": 0.5}  # of rivals, where the lattice takes few steps

CONTESTS: dict[str, Contest] = {
    "identity": Contest("identity", CONFIG, 500),
    "rotation": Contest("rotation", CONFIG, 500),
    "conditional-permutation": Contest("conditional-permutation", CONFIG),
    "deep-teacher": Contest("deep-teacher", CONFIG),
    "sudoku-4": Contest("sudoku-4", CONFIG, 2000),
    "digits": Contest("digits", CONFIG, 500, rows=10_000),  # there are 1 437
    "reverse-dictionary": Contest(None, PRESETS["tiny"] | {"warmup_steps": 100}, 0),
    "maze": Contest(
        "maze",
        grid(25, loss_along=0.5),
        1250,
        trials=(
            *square(400, 5, 7, 9),
            Trial(400, (13, 13), steps=157),
            Trial(200, (17, 17), steps=260),
            Trial(48, (33, 33), steps=600),
        ),
        validation_rows=800,
        train_faces=((3, 3), (4, 4), (5, 5), (6, 6)),
    ),
    "flood": Contest(
        "flood",
        grid(64),
        trials=(*square(400, 8, 12, 16), *square(100, 24), *square(24, 48)),
        validation_rows=400,
        train_faces=((8, 8),),
    ),
    "sudoku-6": Contest(
        "sudoku-6",
        PRESETS["exchange"] | {"max_active_flows": 36},
        1000,
        rows=32_000,
        trials=(Trial(1000), Trial(500, split="few-clues")),
        validation_rows=500,
    ),
    "delivery": Contest("delivery", PRESETS["pointer"] | {"max_active_flows": 16}, rivals=LOOPS),
    "delivery-64": Contest(
        "delivery",
        PRESETS["pointer"] | LARGE | {"max_active_flows": 64},
        3000,
        trials=(Trial(1000, (8, 8)),),
        validation_rows=1000,
        train_faces=((8, 8),),
        options={"orders": 16},
        rivals=LOOPS,
    ),
    "chain-parity": Contest(
        "chain-parity",
        grid(16, depth_exponent=1.0),
        1000,
        trials=(*line(400, 16), *line(200, 64), *line(48, 256)),
        validation_rows=400,
        train_faces=((16, 1),),
    ),
    "chain-s5": Contest(
        "chain-s5",
        grid(16, depth_exponent=1.0, energy_dim=120),
        1000,
        trials=(*line(400, 16), *line(200, 64), *line(48, 256)),
        validation_rows=400,
        train_faces=((16, 1),),
    ),
}
