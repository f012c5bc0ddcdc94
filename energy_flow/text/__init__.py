"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder, encoders_of, open_encoder
from .encoder_settings import EncoderSettings
from .faiss_index import ApproximateTexts
from .generator import GeneratorSettings, TextGenerator
from .nearest_rows import NearestRows

__all__ = [
    "ApproximateTexts",
    "EncoderSettings",
    "GeneratorSettings",
    "Match",
    "NearestRows",
    "NearestTexts",
    "TextEncoder",
    "TextGenerator",
    "encoders_of",
    "open_encoder",
]
