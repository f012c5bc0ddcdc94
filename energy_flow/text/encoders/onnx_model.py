"""ONNX models of fastembed: by their names in its list, or any folder with `model.onnx` and a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder_settings import EncoderSettings
from .backend import ENCODER_KINDS, EncoderKind, local_folder, reason_of, text_of_prompt
from .fingerprint import folder_fingerprint
from .tokens import TokenCounter, fast_tokenizer

KIND = "fastembed"
MODEL_FILES = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")


class OnnxModel:
    """A fastembed model; see `Backend`."""

    batch = 64

    def __init__(self, place: str, settings: EncoderSettings, device: str) -> None:
        folder = local_folder(place)
        try:
            self._model = _open_folder(folder, device) if folder is not None else _open_name(place, device)
        except Exception as error:  # the library and its runtime raise what they like
            raise ValueError(
                f"encoder {KIND}:{place}: could not be loaded ({reason_of(error)}); give a name of fastembed's list, "
                f"or a folder with {MODEL_FILES[0]}, tokenizer.json and tokenizer_config.json"
            ) from error
        self.name = f"{KIND}:{place if folder is None else folder}"
        found = getattr(self._model.model, "_model_dir", None) if folder is None else folder
        self.fingerprint = None if found is None else folder_fingerprint(Path(found))
        tokenizer = fast_tokenizer(getattr(self._model.model, "tokenizer", None))
        if settings.max_tokens is not None:
            if tokenizer is None or tokenizer.truncation is None:
                raise ValueError(f"encoder {self.name}: its window cannot be set; leave --max-tokens out")
            tokenizer.enable_truncation(settings.max_tokens)
        self.limit = None if tokenizer is None or tokenizer.truncation is None else tokenizer.truncation["max_length"]
        self._counter = None if tokenizer is None or self.limit is None else TokenCounter(tokenizer, self.limit)

    def prompt_text(self, prompt: str | None) -> str:
        """What is put before a text; what the library puts before queries and documents, it does not tell."""
        return "" if prompt in ("query", "document") else text_of_prompt(self.name, prompt)

    def unused_prompts(self) -> list[str]:
        """None that the library tells of."""
        return []

    def embed(self, texts: Sequence[str], prompt: str | None) -> np.ndarray:
        """(len(texts), width)."""
        given: Any = list(texts)
        if prompt == "query":
            rows = self._model.query_embed(given)
        elif prompt == "document":
            rows = self._model.passage_embed(given, batch_size=len(given))
        else:
            before = self.prompt_text(prompt)
            rows = self._model.embed([before + text for text in given], batch_size=len(given))
        return np.stack(list(rows))

    def is_cut(self, texts: Sequence[str], prompt: str | None) -> list[bool] | None:
        """Which texts are longer than the window."""
        before = self.prompt_text(prompt)
        return None if self._counter is None else self._counter.longer([before + text for text in texts])


def _open_name(name: str, device: str) -> Any:
    from fastembed import TextEmbedding

    return TextEmbedding(name, cuda=device.startswith("cuda"))


def _open_folder(folder: Path, device: str) -> Any:
    """A model of the user's: registered under its path, with the pooling that its configuration names, or the mean."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource

    name = str(folder)
    file = next((one for one in MODEL_FILES if (folder / one).is_file()), None)
    if file is None:
        raise ValueError(f"no {' or '.join(MODEL_FILES)} in the folder")
    if name.lower() not in (known["model"].lower() for known in TextEmbedding.list_supported_models()):
        width = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("hidden_size", 1)
        TextEmbedding.add_custom_model(
            name, _pooling(folder), normalization=False, sources=ModelSource(hf=name), dim=width, model_file=file
        )
    return TextEmbedding(name, cuda=device.startswith("cuda"), specific_model_path=name)


def _pooling(folder: Path) -> Any:
    from fastembed.common.model_description import PoolingType

    path = folder / "1_Pooling" / "config.json"
    chosen = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if chosen.get("pooling_mode_cls_token"):
        return PoolingType.CLS
    return PoolingType.LAST_TOKEN if chosen.get("pooling_mode_lasttoken") else PoolingType.MEAN


ENCODER_KINDS.add(KIND, EncoderKind(OnnxModel, "fastembed", "pip install 'energy-flow[fastembed]'"))
