"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder, encoder_of, encoders_of, open_encoder
from .encoder_settings import EncoderSettings
from .encoders import ENCODER_KINDS, EncoderKind
from .faiss_index import ApproximateTexts
from .generator import GeneratorSettings, TextGenerator
from .nearest_rows import NearestRows

__all__ = [
    "ENCODER_KINDS",
    "ApproximateTexts",
    "EncoderKind",
    "EncoderSettings",
    "GeneratorSettings",
    "Match",
    "NearestRows",
    "NearestTexts",
    "TextEncoder",
    "TextGenerator",
    "encoder_of",
    "encoders_of",
    "open_encoder",
]
