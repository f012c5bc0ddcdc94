"""Tasks with a known answer, each with its own metric."""

from .task import TASKS, Task, accuracy, build_task, exact_grids, make_task, r_squared, sudoku_grids

__all__ = ["TASKS", "Task", "accuracy", "build_task", "exact_grids", "make_task", "r_squared", "sudoku_grids"]
