"""Static embeddings of model2vec: the vector of a text is the mean of its tokens' vectors, from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..encoder_settings import EncoderSettings
from .backend import ENCODER_KINDS, EncoderKind, local_folder, reason_of, text_of_prompt
from .fingerprint import folder_fingerprint
from .tokens import TokenCounter

KIND = "model2vec"


class StaticTable:
    """A model2vec model; see `Backend`."""

    batch = 1024

    def __init__(self, place: str, settings: EncoderSettings, device: str) -> None:
        from model2vec import StaticModel

        folder = local_folder(place)
        try:
            self._model = StaticModel.from_pretrained(place if folder is None else str(folder))
        except Exception as error:  # the library raises what its readers raise
            raise ValueError(
                f"encoder {KIND}:{place}: could not be loaded ({reason_of(error)}); give the folder of a model2vec "
                "model, or a name on the hub that is in its cache or can be fetched"
            ) from error
        self.fingerprint: str | None
        if folder is not None:
            self.name, self.fingerprint = f"{KIND}:{folder}", folder_fingerprint(folder)
        else:
            self.name, self.fingerprint = f"{KIND}:{place}", _table_fingerprint(self._model)
        if settings.max_tokens is not None:
            self._model.max_length = settings.max_tokens
        self.limit: int | None = self._model.max_length
        self._counter = None
        if self.limit is not None:
            self._counter = TokenCounter(self._model.tokenizer, self.limit, special_tokens=False)

    def prompt_text(self, prompt: str | None) -> str:
        """What is put before a text."""
        return text_of_prompt(self.name, prompt)

    def unused_prompts(self) -> list[str]:
        """None: these models have no prompts."""
        return []

    def embed(self, texts: Sequence[str], prompt: str | None) -> np.ndarray:
        """(len(texts), width)."""
        before = self.prompt_text(prompt)
        return self._model.encode(
            [before + text for text in texts], normalize=False, use_multiprocessing=False, batch_size=len(texts)
        )

    def is_cut(self, texts: Sequence[str], prompt: str | None) -> list[bool] | None:
        """Which texts are longer than the library reads: it cuts letters first, then tokens."""
        if self._counter is None or self.limit is None:
            return [False] * len(texts)
        before = self.prompt_text(prompt)
        whole = [before + text for text in texts]
        letters = self.limit * self._model.median_token_length
        longer = self._counter.longer(whole)
        return [long or len(text) > letters for long, text in zip(longer, whole, strict=True)]


def _table_fingerprint(model: Any) -> str:
    """Of a model of the hub, whose library takes no revision: the checksum of table, weights and tokenizer."""
    digest = hashlib.sha256(np.ascontiguousarray(model.embedding).tobytes())
    for more in (model.weights, model.token_mapping):
        digest.update(b"" if more is None else np.ascontiguousarray(more).tobytes())
    digest.update(model.tokenizer.to_str().encode())
    return f"table {digest.hexdigest()}"


ENCODER_KINDS.add(KIND, EncoderKind(StaticTable, "model2vec", "pip install 'energy-flow[model2vec]'"))
