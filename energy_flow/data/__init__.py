"""Pairs of embeddings: the shipped set, synthetic tasks, files."""

from .pairs import PairData, PairSet, TextBank
from .shipped import load_shipped
from .sources import load_data
from .tasks import TASKS, make_task

__all__ = ["TASKS", "PairData", "PairSet", "TextBank", "load_data", "load_shipped", "make_task"]
