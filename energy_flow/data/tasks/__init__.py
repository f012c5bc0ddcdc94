"""Tasks with a known answer, each with its own metric, in an open registry; one task a file.

`identity` and `rotation` show that the path is intact; in `conditional-permutation` content decides the route;
`deep-teacher` is a hard non-linear map; in `sudoku-4` cells must exchange what they know; `digits` are small images.
In these a cell of the row is a site of the face: `maze` and `flood` of any size, `sudoku-6`, `delivery`, where blocks
must travel, and `chain-parity` and `chain-s5`, where a state is carried along a line.
"""

from .chain_parity import CHAIN_PARITY
from .chain_s5 import CHAIN_S5
from .conditional_permutation import CONDITIONAL_PERMUTATION
from .deep_teacher import DEEP_TEACHER
from .delivery import DELIVERY, delivery_sites
from .digits import DIGITS
from .drawing import make_split, make_task
from .flood import FLOOD
from .identity import IDENTITY
from .judging import CELL_CLASSES, CLASSES, REGRESSION, accuracy, chosen_class, class_of_cells, r_squared, whole_rows
from .maze import MAZE, shortest_paths
from .pictures import flood_text, maze_text
from .rotation import ROTATION
from .sudoku_4 import SUDOKU_4, exact_grids, sudoku_grids
from .sudoku_6 import SUDOKU_6
from .task import TASKS, Draw, Judge, Metric, Sampler, Sizes, Task, Waiting
from .writing import build_task

TASKS.add("identity", IDENTITY)
TASKS.add("rotation", ROTATION)
TASKS.add("conditional-permutation", CONDITIONAL_PERMUTATION)
TASKS.add("deep-teacher", DEEP_TEACHER)
TASKS.add("sudoku-4", SUDOKU_4)
TASKS.add("digits", DIGITS)
TASKS.add("maze", MAZE)
TASKS.add("flood", FLOOD)
TASKS.add("sudoku-6", SUDOKU_6)
TASKS.add("delivery", DELIVERY)
TASKS.add("chain-parity", CHAIN_PARITY)
TASKS.add("chain-s5", CHAIN_S5)

__all__ = [
    "CELL_CLASSES",
    "CLASSES",
    "REGRESSION",
    "TASKS",
    "Draw",
    "Judge",
    "Metric",
    "Sampler",
    "Sizes",
    "Task",
    "Waiting",
    "accuracy",
    "build_task",
    "chosen_class",
    "class_of_cells",
    "delivery_sites",
    "exact_grids",
    "flood_text",
    "make_split",
    "make_task",
    "maze_text",
    "r_squared",
    "shortest_paths",
    "sudoku_grids",
    "whole_rows",
]
