"""Pairs of embeddings: the shipped set, tasks in an open registry, files."""

from .pairs import PairData, Pairs, PairSet, SizedPairs, TextBank, parts_of
from .shipped import load_shipped
from .sources import load_data
from .tasks import TASKS, Sizes, Task, build_task, make_split, make_task

__all__ = [
    "TASKS",
    "PairData",
    "PairSet",
    "Pairs",
    "SizedPairs",
    "Sizes",
    "Task",
    "TextBank",
    "build_task",
    "load_data",
    "load_shipped",
    "make_split",
    "make_task",
    "parts_of",
]
