"""Tasks with a known answer, each with its own metric, in an open registry; one task a file.

`identity` and `rotation` show that the path is intact; in `conditional-permutation` content decides the route;
`deep-teacher` is a hard non-linear map; in `sudoku-4` cells must exchange what they know; `digits` are small images.
"""

from .conditional_permutation import CONDITIONAL_PERMUTATION
from .deep_teacher import DEEP_TEACHER
from .digits import DIGITS
from .drawing import build_task, make_task
from .identity import IDENTITY
from .judging import CLASSES, REGRESSION, accuracy, r_squared
from .rotation import ROTATION
from .sudoku_4 import SUDOKU_4, exact_grids, sudoku_grids
from .task import TASKS, Metric, Sampler, Task

TASKS.add("identity", IDENTITY)
TASKS.add("rotation", ROTATION)
TASKS.add("conditional-permutation", CONDITIONAL_PERMUTATION)
TASKS.add("deep-teacher", DEEP_TEACHER)
TASKS.add("sudoku-4", SUDOKU_4)
TASKS.add("digits", DIGITS)

__all__ = [
    "CLASSES",
    "REGRESSION",
    "TASKS",
    "Metric",
    "Sampler",
    "Task",
    "accuracy",
    "build_task",
    "exact_grids",
    "make_task",
    "r_squared",
    "sudoku_grids",
]
