"""One process at a time writes a run folder: a lock that the system gives back when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from ...utils.files import replace_file
from ...utils.logging import logger

PATIENCE = 1.0  # seconds until a lock that is held counts as somebody's
LOCK, OWNER = "run.lock", "run-owner.json"


class RunInUseError(ValueError):
    """Another process, or another trainer of this one, writes the folder."""


class RunTakenError(RuntimeError):
    """Somebody else took the folder while this process trained into it: from then on nothing is written here."""


class FolderLock:
    """The right to write a run folder, from `acquire` to `release`.

    The system holds the lock of a file in the folder for as long as the process lives, so one that a killed process
    left is free. Beside it stands who holds it, for the words of whoever is refused, and to notice when somebody took
    the folder all the same, as after the lock's file was deleted.

    Args:
        folder: the run folder, which exists by the time of `acquire`.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._owner = folder / LOCK, folder / OWNER
        self._folder, self._token = folder, uuid.uuid4().hex
        self._lock = FileLock(self._path)

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            RunInUseError: somebody has it; names process, machine and since when.
        """
        self.take_lock()
        try:
            self._sign()
        except BaseException:
            self._lock.release()
            raise

    def take_lock(self) -> None:
        """Take the system's lock alone; somebody who only asks whether it is free has it for a moment.

        Raises:
            RunInUseError: somebody has it; names process, machine and since when.
        """
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise RunInUseError(self._words()) from error

    def drop_lock(self) -> None:
        """Give it back, and leave what is written there."""
        self._lock.release()

    def _sign(self) -> None:
        """Write down whose the folder is."""
        left = self._read()
        if left is not None:
            logger.warning("process %s on %s left this run without closing it: taken over", left["pid"], left["host"])
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        mine = {"pid": os.getpid(), "host": platform.node(), "since": now, "token": self._token}
        replace_file(self._owner, lambda path: path.write_text(json.dumps(mine) + "\n", encoding="utf-8"))

    def require(self) -> None:
        """Make sure that the folder is still this one's.

        Raises:
            RunTakenError: it is not.
        """
        found = self._read()
        if found is None or found["token"] != self._token:
            what = "was removed" if not self._folder.is_dir() else "lost the files of its lock"
            if found is not None:
                what = f"was taken over by process {found['pid']} on {found['host']}"
            raise RunTakenError(
                f"{self._folder} {what} while this process trained into it: it stops, and writes nothing more there; "
                "give each run a folder of its own, and leave it in place"
            )

    def release(self) -> None:
        """Give the folder back; nothing of the lock is left there."""
        if not self._lock.is_locked:
            return
        found = self._read()
        with contextlib.suppress(OSError):  # Windows lets no open file be removed: the next holder finds it free
            if found is not None and found["token"] == self._token:
                self._owner.unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._lock.release()

    def _read(self) -> dict[str, str] | None:
        """Who has the folder, as far as it is written down."""
        try:
            found = json.loads(self._owner.read_text(encoding="utf-8"))
            return found if {"pid", "host", "since", "token"} <= found.keys() else None
        except (OSError, ValueError, AttributeError):
            return None

    def _words(self) -> str:
        found = self._read()
        who = "another process" if found is None else f"process {found['pid']} on {found['host']}"
        since = "" if found is None else f" since {found['since']}"
        return f"run folder {self._folder} is in use by {who}{since}; wait for it, stop it, or give another folder"


def refuse_if_in_use(folder: Path) -> None:
    """Raise a RunInUseError where somebody writes this folder now; nothing is left there."""
    if not (folder / LOCK).exists():
        return
    probe = FolderLock(folder)
    try:
        probe.take_lock()
    except OSError:  # a folder that may be read alone: whoever writes into it will be told
        return
    probe.drop_lock()
