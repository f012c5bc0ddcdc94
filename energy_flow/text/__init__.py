"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder
from .faiss_index import ApproximateTexts
from .generator import GeneratorSettings, TextGenerator

__all__ = ["ApproximateTexts", "GeneratorSettings", "Match", "NearestTexts", "TextEncoder", "TextGenerator"]
