"""Checkpoints on disk: each a folder of its own, there whole or not at all, and checked before it is used."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...utils.files import sha256_of, sync_file, sync_folder
from ...utils.logging import logger

FORMAT = 4  # 1 had no number of processes, 2 no budget of flows; up to 3 the moments were numbered, not named
LEAST_KEPT = 2
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
_NAME = re.compile(r"step-(\d{9})")  # a checkpoint's folder; whatever has another name is the user's
_UNFINISHED = re.compile(r"\.step-\d{9}\.\w+\.tmp")


class CheckpointStore:
    """The checkpoints of a run, `step-000000100` and so on; the newest few are kept.

    A folder counts where its name and its manifest say the same step, so a copy under another name is the user's: it is
    neither taken up nor removed.

    Args:
        folder: where they are.
        keep: how many are kept, at least two, so that one is left when the newest is damaged.

    Raises:
        ValueError: fewer than two are to be kept.
    """

    def __init__(self, folder: Path, keep: int = LEAST_KEPT) -> None:
        if keep < LEAST_KEPT:
            raise ValueError(
                f"keep_checkpoints = {keep}; give at least {LEAST_KEPT}, one for when the newest is damaged"
            )
        self.folder, self.keep = folder, keep

    def save(self, step: int, files: Mapping[str, Callable[[Path], object]], facts: Mapping[str, Any]) -> Path:
        """Write a checkpoint beside its place, bring it to the disk, and put it in its place in one move.

        Args:
            step: steps taken; it names the folder.
            files: what writes each file, by the file's name.
            facts: for the manifest.

        Raises:
            OSError: it could not be written, as when the disk is full; the earlier ones are untouched.
        """
        final = self.folder / f"step-{step:09d}"
        temporary, before = (self.folder / f".{final.name}.{end}.tmp" for end in (os.getpid(), "old"))
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, write in files.items():
                write(temporary / name)
                sync_file(temporary / name)
            manifest = {"format": FORMAT, "step": step} | dict(facts)
            manifest["sha256"] = {name: sha256_of(temporary / name) for name in files}
            text = json.dumps(manifest, indent=2) + "\n"
            for name, content in ((MANIFEST, text), (SEAL, hashlib.sha256(text.encode()).hexdigest() + "\n")):
                (temporary / name).write_text(content, encoding="utf-8", newline="\n")
                sync_file(temporary / name)
            sync_folder(temporary)
            if final.exists():  # a damaged one, or the same step before the validation set was looked at
                os.replace(final, before)
            try:
                os.replace(temporary, final)
            except OSError:
                if before.exists():
                    os.replace(before, final)
                raise
            sync_folder(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
        self._remove_oldest()
        return final

    def all(self) -> list[Path]:
        """Every checkpoint's folder by its step, the oldest first; some may be damaged."""
        return sorted(path for path in _entries(self.folder) if self._is_own(path))

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole; damaged ones are named in the log, and passed over.

        Raises:
            ValueError: one is of a newer format.
        """
        for folder in reversed(self.all()):
            problem = find_damage(folder)
            if problem is None:
                return folder
            logger.warning("checkpoint %s is damaged (%s): taking the one before it", folder, problem)
        return None

    def remove_unfinished(self) -> None:
        """Remove what a killed run left half-written; a checkpoint that was about to be replaced comes back."""
        for path in _entries(self.folder):
            name = path.name.split(".")[1] if _UNFINISHED.fullmatch(path.name) else ""
            if name and path.name.endswith(".old.tmp") and not (self.folder / name).exists():
                os.replace(path, self.folder / name)
            elif name:
                _remove(path)

    @staticmethod
    def step_of(checkpoint: Path) -> int:
        """The step that a checkpoint's name says."""
        return int(checkpoint.name.removeprefix("step-"))

    def _remove_oldest(self) -> None:
        for old in [folder for folder in self.all() if _step_in(folder) is not None][: -self.keep]:
            _remove(old)

    def _is_own(self, path: Path) -> bool:
        """Whether this is a checkpoint of the run, whole or damaged, and no copy of one."""
        named = _NAME.fullmatch(path.name)
        if named is None or not path.is_dir():
            return False
        return _step_in(path) in (None, int(named[1]))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _step_in(folder: Path) -> int | None:
    """The step in a checkpoint's manifest; None where it cannot be read."""
    try:
        return int(json.loads((folder / MANIFEST).read_bytes())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(folder: Path) -> None:
    """Remove a folder; where that fails, as on a share where somebody reads it, it stays, and the log says so."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.warning("%s cannot be removed (%s) and stays", folder, error)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that must be whole.

    Raises:
        ValueError: it is damaged, or of a newer format.
    """
    problem = find_damage(folder)
    if problem is not None:
        raise ValueError(f"checkpoint {folder} is damaged ({problem}); give another, or --resume auto")
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, in words; None where all are as they were written.

    Raises:
        ValueError: it is whole, but of a newer format.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        seal = (folder / SEAL).read_bytes()
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read"
    if seal != hashlib.sha256(text).hexdigest().encode() + b"\n":
        return f"{MANIFEST} and {SEAL} do not agree"
    manifest = json.loads(text)
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"checkpoint {folder} has format {manifest['format']} and this version reads up to {FORMAT}; "
            "update energy-flow"
        )
    for name, expected in manifest["sha256"].items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256_of(folder / name) != expected:
            return f"the checksum of {name} differs"
    return None
