"""Files that people write: tables of texts and vectors, and lists of words, each row with its file and line."""

from .cells import Cell, Column, text_of, vector_of
from .options import ReadOptions
from .rows import BadRowError, RawRow
from .table import READERS, fingerprint_of, read_table

__all__ = [
    "READERS",
    "BadRowError",
    "Cell",
    "Column",
    "RawRow",
    "ReadOptions",
    "fingerprint_of",
    "read_table",
    "text_of",
    "vector_of",
]
