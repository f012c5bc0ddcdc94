"""Pairs of embeddings: the shipped set, tasks in an open registry, files."""

from .pairs import PairData, PairSet, TextBank
from .shipped import load_shipped
from .sources import load_data
from .tasks import TASKS, Task, build_task, make_task

__all__ = [
    "TASKS",
    "PairData",
    "PairSet",
    "Task",
    "TextBank",
    "build_task",
    "load_data",
    "load_shipped",
    "make_task",
]
