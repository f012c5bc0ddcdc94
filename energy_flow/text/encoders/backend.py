"""What every kind of encoder gives, and the open table of kinds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...config.registry import Registry
from ..encoder_settings import EncoderSettings

SENTENCES, FUNCTION = "sentence-transformers", "function"
REASON_LENGTH = 300  # letters of a library's complaint that are shown


class Backend(Protocol):
    """A model that is loaded.

    Attributes:
        name: what finds it again from any folder: an absolute path, or a name with its revision.
        fingerprint: what tells its weights from others; None where nothing can.
        batch: texts that it takes at once unless something else is asked for.
        limit: tokens that it reads of a text; None for any number.
    """

    name: str
    fingerprint: str | None
    batch: int
    limit: int | None

    def prompt_text(self, prompt: str | None) -> str:
        """What is put before a text under this prompt; a ValueError where it has none of this name."""
        ...

    def unused_prompts(self) -> list[str]:
        """Names of prompts that the model has and does not use by itself."""
        ...

    def embed(self, texts: Sequence[str], prompt: str | None) -> Any:
        """(len(texts), width) floating, a tensor or an array."""
        ...

    def is_cut(self, texts: Sequence[str], prompt: str | None) -> list[bool] | None:
        """Which texts are longer than the model reads; None where that is not known."""
        ...


@dataclass(frozen=True)
class EncoderKind:
    """How encoders of one kind are opened.

    Attributes:
        open: takes what stands behind the kind's name, the settings and a device.
        module: what must be installed, if anything.
        install: the command that installs it.
    """

    open: Callable[[str, EncoderSettings, str], Backend]
    module: str | None = None
    install: str = ""


ENCODER_KINDS: Registry[EncoderKind] = Registry("encoder", "kind of encoder")


def split_model(model: str) -> tuple[str, str]:
    """The kind of an encoder, and what stands behind it: `model2vec:NAME`, `module:function`, or a name alone."""
    kind, colon, place = model.partition(":")
    if colon and kind in ENCODER_KINDS:
        return kind, place
    if re.fullmatch(r"[A-Za-z_][\w.]+:[A-Za-z_]\w*", model) and not Path(model).exists():
        return FUNCTION, model
    return SENTENCES, model


def local_folder(source: str) -> Path | None:
    """The folder that a source names, absolute; None where it can only be a name on the hub.

    Raises:
        ValueError: it is written as a path, and there is no such folder.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    written_as_path = source.startswith((".", "/", "~")) or "\\" in source or source.count("/") > 1
    if written_as_path or path.exists() or re.match(r"[A-Za-z]:", source):
        raise ValueError(
            f"encoder {source}: no such folder (looked for {path.absolute()}); give the folder of a model, or a name"
        )
    return None


def is_name(prompt: str) -> bool:
    """Whether a prompt is given by its name: one word; a text has a space or a colon."""
    return re.fullmatch(r"[\w.-]+", prompt) is not None


def text_of_prompt(source: str, prompt: str | None) -> str:
    """The prompt of a model that has none by name.

    Raises:
        ValueError: it is given by name.
    """
    if prompt and is_name(prompt):
        raise ValueError(
            f"encoder {source}: has no prompts by name, and {prompt!r} is one; give the text itself, as '{prompt}: '"
        )
    return prompt or ""


def reason_of(error: Exception) -> str:
    """What a library complained about, in one line that is not endless."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return words if len(words) <= REASON_LENGTH else f"{words[:REASON_LENGTH]} ..."
