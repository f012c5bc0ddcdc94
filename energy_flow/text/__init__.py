"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder

__all__ = ["Match", "NearestTexts", "TextEncoder"]
