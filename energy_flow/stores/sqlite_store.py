"""A database of SQLite with a virtual table of sqlite-vec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.stored_rows import Rows
from .store import require, require_some

MAGIC = b"SQLite format 3\0"
BLOCK = 1024  # rows that are written at once
VECTOR = re.compile(r"^\s*\"?(?P<name>\w+)\"?\s+(?:float|f32)\s*\[(?P<width>\d+)\]", re.IGNORECASE)
KEY = re.compile(r"^\s*\"?(?P<name>\w+)\"?\s+(?:text|integer)\s+primary\s+key", re.IGNORECASE)


class SqliteStore:
    """The `vec0` table of a database; its other columns, and all other tables, are kept. See `Store`.

    Args:
        path: the database. What its journal still holds is brought into it.
        table: the `vec0` table; by default the only one.
    """

    def __init__(self, path: Path, table: str | None = None) -> None:
        self.path = path
        settle(path)
        self._database = _connect(path)
        self.table, self._declared = self._find(table)
        columns = _split(self._declared)
        found = [one for column in columns if (one := VECTOR.match(column))]
        if len(found) != 1:
            raise ValueError(f"{path}: {self.table} has {len(found)} columns of floating vectors; it must have one")
        self._column, self.width = found[0]["name"], int(found[0]["width"])
        keys = [one["name"] for column in columns if (one := KEY.match(column))]
        self._key = keys[0] if keys else "rowid"
        names = [row[1] for row in self._database.execute(f'pragma table_info("{self.table}")')]
        self._others = [name for name in names if name not in (self._column, self._key)]
        self._keys = np.array([row[0] for row in self._select(self._key)], dtype=object)
        self.rows = len(self._keys)
        require_some(path, self.rows)

    def keys(self) -> np.ndarray:
        """(N,) row numbers or texts, as the table gives them."""
        return self._keys

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32."""
        block: list[np.ndarray] = []
        for number, (vector,) in enumerate(self._select(self._column)):
            if number >= start:
                block.append(np.frombuffer(vector, dtype="<f4"))
            if len(block) == size:
                yield torch.from_numpy(np.stack(block))
                block = []
        if block:
            yield torch.from_numpy(np.stack(block))

    def write(self, path: Path, vectors: Rows) -> None:
        """Copy the database, and fill its table anew."""
        import apsw

        path.unlink(missing_ok=True)
        copy = apsw.Connection(str(path))
        with copy.backup("main", self._database, "main") as backup:
            backup.step(-1)
        copy.close()
        database = _connect(path)
        (mode,) = database.execute("pragma journal_mode").fetchall()[0]
        database.execute("pragma journal_mode = delete")
        with database:
            self._refill(database, vectors)
        database.execute(f"pragma journal_mode = {mode}")
        database.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _refill(self, database: Any, vectors: Rows) -> None:
        names = [self._key, self._column, *self._others]
        listed, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
        width = vectors.shape[1]
        declared = [
            re.sub(r"\[\d+\]", f"[{width}]", column, count=1) if VECTOR.match(column) else column
            for column in _split(self._declared)
        ]
        database.execute(f'drop table "{self.table}"')
        database.execute(f'create virtual table "{self.table}" using vec0({",".join(declared)})')
        insert = f'insert into "{self.table}" ({listed}) values ({marks})'
        first, rows = 0, iter(self._select(self._key, *self._others))
        while block := [row for _, row in zip(range(BLOCK), rows, strict=False)]:
            new = vectors[first : first + len(block)].numpy().astype("<f4")
            database.executemany(
                insert, ((row[0], vector.tobytes(), *row[1:]) for row, vector in zip(block, new, strict=True))
            )
            first += len(block)

    def _find(self, table: str | None) -> tuple[str, str]:
        """Name of the table, and what stands between the brackets of its declaration."""
        declared = {}
        for name, sql in self._database.execute("select name, sql from sqlite_master where type = 'table'"):
            if sql and (found := re.search(r"using\s+vec0\s*\((.*)\)\s*;?\s*$", sql, re.IGNORECASE | re.DOTALL)):
                declared[name] = found[1]
        if table is not None and table not in declared:
            raise ValueError(f"{self.path}: no vec0 table {table!r}; there are {', '.join(declared) or 'none'}")
        if table is None and len(declared) != 1:
            held = (
                f"{len(declared)} vec0 tables ({', '.join(declared)}): say which with --table"
                if declared
                else "no vec0 table"
            )
            raise ValueError(f"{self.path}: holds {held}")
        name = table or next(iter(declared))
        return name, declared[name]

    def _select(self, *columns: str) -> Any:
        """Rows of the table, always in the same order."""
        listed = ", ".join(f'"{name}"' for name in columns)
        return self._database.execute(f'select {listed} from "{self.table}"')


def settle(path: Path) -> None:
    """Bring what a journal still holds into the database.

    Raises:
        ImportError: what reads it is not installed.
        ValueError: another program has the database open, or it is damaged.
    """
    for module in ("sqlite_vec", "apsw"):
        require(module, "sqlite-vec", "sqlite")
    import apsw

    try:
        database = apsw.Connection(str(path))
        database.execute("pragma wal_checkpoint(truncate)").fetchall()
        database.execute("begin immediate")
        database.execute("rollback")
        database.close()
    except apsw.Error as error:
        raise ValueError(f"{path}: cannot be read ({error}); close what has it open, or give another copy") from error
    for ending in ("-wal", "-journal"):
        journal = path.with_name(path.name + ending)
        if journal.exists() and journal.stat().st_size:
            raise ValueError(f"{path}: another program has it open ({journal.name} is in use); close it")


def _connect(path: Path) -> Any:
    import apsw
    import sqlite_vec

    database = apsw.Connection(str(path))
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    database.enable_load_extension(False)
    return database


def _split(declared: str) -> list[str]:
    """The columns of a declaration; commas within brackets do not divide."""
    return re.split(r",(?![^(\[]*[)\]])", declared)
