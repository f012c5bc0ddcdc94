"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder
from .faiss_index import ApproximateTexts
from .generator import GeneratorSettings, TextGenerator
from .nearest_rows import NearestRows

__all__ = [
    "ApproximateTexts",
    "GeneratorSettings",
    "Match",
    "NearestRows",
    "NearestTexts",
    "TextEncoder",
    "TextGenerator",
]
