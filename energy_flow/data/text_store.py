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
LETTERS = 60  # of a text in a message
BLOCK = 1024  # texts that are embedded, written and brought to the disk together
WINDOW = 16 * BLOCK  # texts among which the longest come first, so that a batch holds texts of one length
CUT, UNKNOWN, UNSURE = (
    1,
    2,
    4,
)  # flags of a text: its end was not read; zeros or no numbers; not known whether it was cut
DIGEST = 16  # bytes


class Encoder(Protocol):
    """What turns texts into rows: any callable that gives an array or a tensor with a row for each text.

    One may have more: `name`, for the manifest; `card`, what decides the bits of its rows; `prepare()`, which loads it;
    and `is_cut(texts)`, None where that is not known.
    """

    def __call__(self, texts: Sequence[str]) -> Any:
        """(len(texts), width) floating."""
        ...


def name_of(encoder: Encoder) -> str:
    """What an encoder is called; a function has its own name."""
    return str(getattr(encoder, "name", None) or getattr(encoder, "__qualname__", type(encoder).__qualname__))


def card_of(encoder: Encoder) -> dict[str, Any]:
    """What decides the bits of an encoder's rows; of one that says nothing more, its name."""
    return dict(getattr(encoder, "card", None) or {"model": name_of(encoder)})


class TextCollector:
    """Collects texts; in the end each different one has a line, in the order in which they will be embedded.

    A text takes 16 bytes of memory, and no more while it is collected; the texts themselves wait in a file.

    Args:
        path: where the different texts go, one JSON object a line, with the place where each stood first.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._waiting = path, path.with_suffix(".all")
        self._file = self._waiting.open("w", encoding="utf-8", newline="\n")
        self._digests = bytearray()
        self._place = np.empty(0, dtype=np.int64)
        self._different = 0

    def __len__(self) -> int:
        """Different texts; known once it is closed."""
        return self._different

    def add(self, text: str, where: str) -> int:
        """Its number by order of appearance, every appearance counted."""
        self._digests += hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()
        self._file.write(json.dumps([text, where]) + "\n")
        return len(self._digests) // DIGEST - 1

    def close(self) -> None:
        """Collect no more."""
        self._file.close()

    def finish(self) -> None:
        """Write the different texts, window by window, in each the longest first."""
        self.close()
        first, number = _first_ones(self._digests)
        self._digests = bytearray()
        places = np.empty(len(first), dtype=np.int64)
        written = 0
        with (
            self._waiting.open(encoding="utf-8") as waiting,
            self._path.open("w", encoding="utf-8", newline="\n") as file,
        ):
            for window in _windows(waiting, first):
                order = sorted(range(len(window)), key=lambda one: (-len(json.loads(window[one])[0]), one))
                places[np.array(order) + written] = np.arange(written, written + len(order))
                written += len(order)
                file.writelines(window[one] for one in order)
        self._waiting.unlink()
        self._different, self._place = len(first), places[number]

    def places(self, numbers: Sequence[int] | array[int]) -> np.ndarray:
        """(N,) int64: the rows of the embedded texts, of numbers that `add` gave. Finish first."""
        return self._place[np.array(numbers, dtype=np.int64)]


def _first_ones(digests: bytearray) -> tuple[np.ndarray, np.ndarray]:
    """(U,) where each different digest stands first, in that order, and (M,) the number of every one among those."""
    halves = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # equal ones stay in their order
    new = np.ones(len(order), dtype=bool)
    new[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    first = order[new]
    by_appearance = np.argsort(first)
    rank = np.empty_like(by_appearance)
    rank[by_appearance] = np.arange(len(first))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = rank[np.cumsum(new) - 1]
    return first[by_appearance], number


def _windows(lines: Iterator[str], first: np.ndarray) -> Iterator[list[str]]:
    """The lines of these numbers, a window at a time."""
    wanted = iter(first.tolist())
    following = next(wanted, None)
    window: list[str] = []
    for number, line in enumerate(lines):
        if number == following:
            window.append(line)
            following = next(wanted, None)
            if len(window) == WINDOW:
                yield window
                window = []
    if window:
        yield window


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
            ValueError: the encoder fails on a text, or gives rows of another shape.
        """
        with self._texts.open(encoding="utf-8") as lines:
            for block in _blocks(islice(lines, done, None)):
                texts, where = zip(*(json.loads(line) for line in block), strict=True)
                rows = embedded(encoder, texts, where)
                unknown = np.asarray(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
                shown = [f"{where[place]}: {cut_short(texts[place])}" for place in np.flatnonzero(unknown)[:SHOWN]]
                self.unknown += shown
                _write_at(self.rows, done * rows.shape[1] * 4, np.where(unknown.reshape(-1, 1), 0, rows))
                _write_at(self.flags, done, _cut_flags(encoder, texts) + unknown.astype(np.uint8) * UNKNOWN)
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


def embedded(encoder: Encoder, texts: Sequence[str], where: Sequence[str]) -> np.ndarray:
    """(N, E) float32: the rows of texts.

    Args:
        encoder: turns texts into rows.
        texts: N texts.
        where: file and line of each.

    Raises:
        ValueError: the encoder fails, with the text on which it does; or it gives something else than a row for each.
    """
    try:
        found = encoder(texts)
    except Exception as error:  # encoders are models of many libraries, and functions of the user's
        raise ValueError(_named_failure(encoder, texts, where, error)) from error
    rows = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
    if rows.ndim != 2 or len(rows) != len(texts) or rows.dtype.kind != "f":
        raise ValueError(
            f"encoder {name_of(encoder)} gave {rows.dtype} of shape {rows.shape} for {len(texts)} texts; give floating "
            "numbers, a row for each text"
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype="<f4")


def cut_short(text: str) -> str:
    """A text in a message."""
    return repr(text) if len(text) <= LETTERS else f"{text[:LETTERS]!r}... ({len(text)} letters)"


def _named_failure(encoder: Encoder, texts: Sequence[str], where: Sequence[str], error: Exception) -> str:
    """What went wrong, and on which text: the first one that fails by itself."""
    reason = " ".join(str(error).split()) or type(error).__name__
    for text, place in zip(texts, where, strict=True):
        try:
            encoder([text])
        except Exception:  # the same as above, for one text
            return f"{place}: {cut_short(text)} cannot be embedded: {reason}; give --max-tokens, or another encoder"
    return f"{reason}; each text alone is embedded, but not {len(texts)} together: give a smaller --encoder-batch"


def _cut_flags(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """(N,) uint8: which texts were cut, as far as the encoder tells."""
    is_cut = getattr(encoder, "is_cut", None)
    found = None if is_cut is None else is_cut(texts)
    return np.full(len(texts), UNSURE, np.uint8) if found is None else np.array(found, dtype=np.uint8) * CUT


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
