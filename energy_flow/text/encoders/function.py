"""A callable of the user's as an encoder: texts in, an array or a tensor with one row for each out."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...utils.files import sha256_of
from ..encoder_settings import EncoderSettings
from .backend import ENCODER_KINDS, FUNCTION, EncoderKind, reason_of, text_of_prompt

Embedding = Callable[[Sequence[str]], Any]


class FunctionModel:
    """A callable; see `Backend`. It may have `name`, `fingerprint` and `batch` of its own.

    Args:
        function: texts to (len(texts), width).
        name: what it is called.
        fingerprint: what tells it from others, where it does not say so itself.
    """

    limit: int | None = None

    def __init__(self, function: Embedding, name: str | None = None, fingerprint: str | None = None) -> None:
        self._function = function
        self.name = str(name or getattr(function, "name", None) or getattr(function, "__qualname__", repr(function)))
        self.fingerprint: str | None = getattr(function, "fingerprint", fingerprint)
        self.batch = int(getattr(function, "batch", 1024))

    def prompt_text(self, prompt: str | None) -> str:
        """What is put before a text."""
        return text_of_prompt(self.name, prompt)

    def unused_prompts(self) -> list[str]:
        """None."""
        return []

    def embed(self, texts: Sequence[str], prompt: str | None) -> Any:
        """What the callable gives."""
        before = self.prompt_text(prompt)
        return self._function([before + text for text in texts])

    def is_cut(self, texts: Sequence[str], prompt: str | None) -> list[bool] | None:
        """Not known."""
        return None


def open_function(place: str, settings: EncoderSettings, device: str) -> FunctionModel:
    """The callable `module:function`; the folder in which the command runs is looked into too.

    Raises:
        ValueError: no such module or function, or it cannot be called.
    """
    module_name, _, name = place.partition(":")
    if settings.max_tokens is not None:
        raise ValueError(f"encoder {place}: a function reads what it reads; leave --max-tokens out")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs code of the user's
        raise ValueError(
            f"encoder {place}: the module {module_name} cannot be imported ({reason_of(error)}); give MODULE:FUNCTION, "
            "in the folder of the module or with that on PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    function = found() if isinstance(found, type) else found
    if not callable(function):
        raise ValueError(f"encoder {place}: {module_name} has no function {name!r}; give one that takes texts")
    file = getattr(module, "__file__", None)
    return FunctionModel(function, place, None if file is None else f"code {sha256_of(Path(file))}")


ENCODER_KINDS.add(FUNCTION, EncoderKind(open_function))
