"""Several processes that train one model together."""

from .ranks import Ranks, joined_ranks

__all__ = ["Ranks", "joined_ranks"]
