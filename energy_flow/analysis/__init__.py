"""What the flows of a model do: their traces as tables."""

from .trace import Trace

__all__ = ["Trace"]
