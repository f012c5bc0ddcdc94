"""Files that people write: tables of texts and vectors, and lists of words, each row with its file and line."""

from .cells import Cell, Column, vector_of
from .options import ReadOptions
from .rows import BadRowError, RawRow, value_in
from .table import READERS, fingerprint_of, is_dataset, left_unread, read_table, require_used, shards_of
from .texts import normal_form, shown, text_of

__all__ = [
    "READERS",
    "BadRowError",
    "Cell",
    "Column",
    "RawRow",
    "ReadOptions",
    "fingerprint_of",
    "is_dataset",
    "left_unread",
    "normal_form",
    "read_table",
    "require_used",
    "shards_of",
    "shown",
    "text_of",
    "value_in",
    "vector_of",
]
