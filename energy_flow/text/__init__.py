"""Text to embedding, embedding to text."""

from .decoder import Match, NearestTexts
from .encoder import TextEncoder, open_encoder
from .encoder_settings import EncoderSettings
from .encoders import ENCODER_KINDS, EncoderKind
from .faiss_index import ApproximateTexts
from .generator import GeneratorSettings, TextGenerator

__all__ = [
    "ENCODER_KINDS",
    "ApproximateTexts",
    "EncoderKind",
    "EncoderSettings",
    "GeneratorSettings",
    "Match",
    "NearestTexts",
    "TextEncoder",
    "TextGenerator",
    "open_encoder",
]
