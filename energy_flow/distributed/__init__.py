"""Several processes that train one model together."""

from .ranks import RankLostError, Ranks, joined_ranks

__all__ = ["RankLostError", "Ranks", "joined_ranks"]
