"""Vector stores of several engines: their vectors read block by block, and brought into another space."""

from .opening import STORES, open_store
from .store import Store
from .translation import Translation, translate_store

__all__ = ["STORES", "Store", "Translation", "open_store", "translate_store"]
