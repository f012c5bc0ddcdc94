"""A store by what its file begins with, or by the name of its engine."""

from __future__ import annotations

from pathlib import Path

from .faiss_store import FaissStore
from .sqlite_store import MAGIC as SQLITE
from .sqlite_store import SqliteStore
from .store import Store
from .usearch_store import UsearchStore

STORES = ("faiss", "usearch", "sqlite")


def open_store(path: Path, engine: str | None = None, table: str | None = None) -> Store:
    """Open a store.

    Args:
        path: its file.
        engine: one of `STORES`; by default the file tells.
        table: of a database.

    Raises:
        ImportError: the engine is not installed.
        ValueError: no such file, or no store.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a store of {', '.join(STORES)}")
    engine = engine or engine_of(path)
    if engine not in STORES:
        raise ValueError(f"engine = {engine!r}; give one of {', '.join(STORES)}")
    if table is not None and engine != "sqlite":
        raise ValueError(f"{path}: a store of {engine} has no tables; leave the table {table!r} out")
    if engine == "sqlite":
        return SqliteStore(path, table)
    return FaissStore(path) if engine == "faiss" else UsearchStore(path)


def engine_of(path: Path) -> str:
    """The engine by the first bytes: SQLite writes its name, faiss four letters that begin with I."""
    with path.open("rb") as file:
        start = file.read(len(SQLITE))
    if start == SQLITE:
        return "sqlite"
    if start[:1] == b"I" and start[:4].isalnum():
        return "faiss"
    return "usearch"
