"""Every different text once: collected, put into an order that wastes little, embedded block by block, and looked up.

Shapes: `U` different texts, `N` rows, `E` width.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

SHOWN = 3  # unknown texts of a block that are named
BLOCK = 1024  # texts that are embedded, written and brought to the disk together
WINDOW = 16 * BLOCK  # texts among which the longest come first, so that a batch holds texts of one length
CUT, UNKNOWN = 1, 2  # flags of a text: its end was not read; the encoder gives zeros or no numbers for it


class Encoder(Protocol):
    """What turns texts into rows; `name` goes into the manifest.

    One may have more: `card`, what decides the bits of its rows; `prepare()`, which loads it; and `is_cut(texts)`.
    """

    name: str

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), width) float32."""
        ...


def card_of(encoder: Encoder) -> dict[str, Any]:
    """What decides the bits of an encoder's rows; of one that says nothing more, its name."""
    return dict(getattr(encoder, "card", None) or {"model": encoder.name})


class TextCollector:
    """Collects different texts, and numbers them in the order in which they will be embedded.

    Args:
        path: where the texts go, one JSON object a line, with the place where each stood first.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._number: dict[bytes, int] = {}  # by order of appearance
        self._window: list[tuple[int, str, str]] = []
        self._place: list[int] = []  # by order of appearance, the place in the file
        self._written = 0

    def __len__(self) -> int:
        return len(self._number)

    def add(self, text: str, where: str) -> int:
        """Its number by order of appearance."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        number = self._number.setdefault(digest, len(self._number))
        if number == len(self._place):
            self._place.append(-1)
            self._window.append((number, text, where))
            if len(self._window) == WINDOW:
                self._flush()
        return number

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._file.close()

    def places(self, numbers: Sequence[int] | array[int]) -> np.ndarray:
        """(N,) int64: the rows of the embedded texts, of numbers that `add` gave. Close first."""
        return np.array(self._place, dtype=np.int64)[np.array(numbers, dtype=np.int64)]

    def _flush(self) -> None:
        self._window.sort(key=lambda one: (-len(one[1]), one[0]))
        for number, text, where in self._window:
            self._place[number] = self._written
            self._written += 1
            self._file.write(json.dumps([text, where]) + "\n")
        self._window.clear()


class EmbeddedTexts:
    """The rows of collected texts, in a raw file that grows block by block.

    Args:
        texts: what `TextCollector` wrote.
        rows: the file of their rows, (U, E) float32; beside it one byte of flags a text.

    Attributes:
        unknown: the first texts that the encoder knows nothing of, with file and line.
    """

    def __init__(self, texts: Path, rows: Path) -> None:
        self._texts, self.rows, self.flags = texts, rows, rows.with_suffix(".flags")
        self.unknown: list[str] = []

    def embed(self, encoder: Encoder, done: int, saved: Callable[[int, int], None]) -> None:
        """Embed the texts from number `done` on, a multiple of the block.

        Args:
            encoder: turns texts into rows.
            done: texts that have their rows.
            saved: told after every block that is on the disk: texts done, and the width of a row.

        Raises:
            ValueError: the encoder gives rows of another shape.
        """
        with self._texts.open(encoding="utf-8") as lines:
            for block in _blocks(islice(lines, done, None)):
                texts, where = zip(*(json.loads(line) for line in block), strict=True)
                rows = np.ascontiguousarray(encoder(texts).numpy(), dtype="<f4")
                if rows.ndim != 2 or len(rows) != len(texts):
                    raise ValueError(
                        f"{encoder.name} gave shape {rows.shape} for {len(texts)} texts; it must give a row each"
                    )
                unknown = np.asarray(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
                self.unknown += [f"{where[place]}: {texts[place][:60]!r}" for place in np.flatnonzero(unknown)[:SHOWN]]
                cut = getattr(encoder, "is_cut", lambda them: [False] * len(them))(texts)
                flags = np.array(cut, dtype=np.uint8) * CUT + unknown.astype(np.uint8) * UNKNOWN
                _write_at(self.rows, done * rows.shape[1] * 4, np.where(unknown.reshape(-1, 1), 0, rows))
                _write_at(self.flags, done, flags)
                done += len(texts)
                saved(done, rows.shape[1])

    def flags_of(self, places: np.ndarray) -> np.ndarray:
        """(N,) uint8: the flags of the texts in these places."""
        return np.fromfile(self.flags, dtype=np.uint8)[places]

    def chunks(self, places: np.ndarray, width: int, rows_at_once: int) -> Iterator[np.ndarray]:
        """Rows of these places, (n, width) float32 at a time."""
        matrix = np.memmap(self.rows, dtype="<f4", mode="r").reshape(-1, width)
        for start in range(0, len(places), rows_at_once):
            yield np.array(matrix[places[start : start + rows_at_once]])


def _write_at(path: Path, offset: int, values: np.ndarray) -> None:
    """Write at a place of a file and bring it to the disk; what stood behind it, of a run that was cut, goes."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(values).data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    while block := list(islice(lines, BLOCK)):
        yield block
