"""Models as files and on the hub: `save_pretrained`, `from_pretrained`, `push_to_hub`, and the card that goes along."""

from .hub import fetch
from .hub_model import HubModel
from .model_card import ModelCard, Score
from .model_files import CARD, CONFIG, WEIGHTS, read_weights, write_model

__all__ = ["CARD", "CONFIG", "WEIGHTS", "HubModel", "ModelCard", "Score", "fetch", "read_weights", "write_model"]
