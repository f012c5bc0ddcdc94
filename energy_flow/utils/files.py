"""Files that are whole or not there at all, and folders that can hold them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

BLOCK = 1 << 20  # bytes read at once for a checksum
LONGEST_PATH = 4000  # bytes; systems allow 4096 for a path with all that lies in the folder


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `path`, bring it to the disk, and put it in its place in one move; a link stays a link."""
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(unfinished_name(path.name))
    try:
        write(temporary)
        sync_file(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace_files(folder: Path, writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Write several files of a folder; all are on the disk before the first is moved to its place, one after the other.

    Args:
        folder: it is made where it is missing.
        writers: what writes each file, by the file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / unfinished_name(name) for name in writers}
    try:
        for name, write in writers.items():
            write(temporary[name])
            sync_file(temporary[name])
        for name, path in temporary.items():
            os.replace(path, (folder / name).resolve() if (folder / name).is_symlink() else folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    sync_folder(folder)


def unfinished_name(name: str) -> str:
    """The name of a file while it is written: processes and threads do not get into each other's way."""
    return f".{name}.{os.getpid()}-{threading.get_native_id()}.tmp"


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk."""
    with path.open("rb+") as written:
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk; Windows has no handle on a folder to flush."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_of(path: Path) -> str:
    """The checksum of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def require_writable(folder: Path, what: str, file: str = "") -> None:
    """Refuse, with a ValueError, a folder in which no file can be made; nothing is left there.

    Args:
        folder: it need not exist.
        what: what the caller calls it; it leads the message.
        file: the name of a file that will be written there.
    """
    if "\0" in f"{folder}{file}":
        raise ValueError(f"{what} {str(folder)!r}: a name cannot hold a zero byte")
    existing = folder = folder.expanduser()
    while not _exists(existing) and existing != existing.parent:
        existing = existing.parent
    if existing.is_symlink() and not existing.exists():
        raise ValueError(f"{what} {folder}: {existing} is a link to nothing; give a folder")
    if not existing.is_dir():
        raise ValueError(f"{what} {folder}: {existing} is a file; give a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
        longest = os.pathconf(existing, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    except OSError as error:
        raise ValueError(f"{what} {folder}: {existing} cannot be written ({error.strerror}); give another") from error
    if len(os.fsencode(folder.absolute())) > LONGEST_PATH:
        raise ValueError(f"{what} {folder}: the path is longer than {LONGEST_PATH} bytes")
    beside = unfinished_name(file) if file else ""  # the longest name that is written, before it is moved
    for name in (*folder.parts, beside):
        if len(os.fsencode(name)) > longest:
            raise ValueError(f"{what} {folder}: a name is longer than the {longest} bytes that the disk allows")


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False
