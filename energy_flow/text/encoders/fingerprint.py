"""What tells the weights of one encoder from those of another: a checksum of its files, or the commit of the hub."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ...utils.files import sha256_of

COUNTS = {
    *(".safetensors", ".bin", ".pt", ".pth", ".onnx", ".onnx_data", ".npy", ".npz", ".msgpack", ".model", ".spm"),
    *(".json", ".txt", ".py", ".jinja", ".vocab", ".tiktoken", ".yaml", ".yml"),
}  # suffixes of files that can change a vector; a README cannot


def folder_fingerprint(folder: Path) -> str:
    """The checksum of a model's folder: weights, configuration, tokenizer, code; names and contents.

    Raises:
        ValueError: no such file is in the folder.
    """
    digest = hashlib.sha256()
    files = sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix())
    if not files:
        raise ValueError(f"encoder {folder}: the folder holds no files of a model; give another")
    for path in files:
        found = path.stat()
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(_checksum(path, found.st_size, found.st_mtime_ns)))
    return f"files {digest.hexdigest()}"


def hub_commit(name: str, revision: str | None, files: tuple[str, ...], cache: str | None = None) -> str | None:
    """The commit of a model that was loaded from the hub, as its local copy says; None where there is none.

    Args:
        name: owner and name.
        revision: that was asked for; by default `main`.
        files: any of these is in the copy.
        cache: the folder of copies, where it is not the usual one.
    """
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        found = try_to_load_from_cache(name, file, cache_dir=cache, revision=revision)
        if isinstance(found, str):
            parts = Path(found).parts
            return parts[parts.index("snapshots") + 1]
    return None


def weights_fingerprint(model: nn.Module) -> str:
    """The checksum of a loaded model's weights, where no file tells more."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"weights {digest.hexdigest()}"


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in COUNTS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


@lru_cache(maxsize=4096)
def _checksum(path: Path, size: int, changed_at: int) -> str:
    """Of a file's content; within a process it is read once while size and time of change stay."""
    return sha256_of(path)
