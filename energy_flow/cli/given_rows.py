"""What `predict` is given: texts, of the command line or of a file, or vectors of a file.

Shapes: `n` rows of a block, `E` width.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from ..data.files import text_of
from ..data.files.opening import lines_of
from ..data.text_store import Encoder, card_of, name_of
from ..data.vector_tables import Table

STDIN = "-"
TEXT = "text"  # the column of texts in a table that is written


class TextRows:
    """Texts as rows, embedded block by block.

    Args:
        texts: what is embedded.
        encoder: texts to (n, E).

    Attributes:
        name: what the rows are called in messages.
    """

    column = ""

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self.texts, self._encoder, self.name = texts, encoder, f"the encoder {name_of(encoder)}"
        self.rows, self.width = len(texts), encoder(texts[:1]).shape[1]
        self.columns = dict.fromkeys([TEXT])

    @property
    def made_of(self) -> dict[str, str]:
        """The checksum of the texts, and what the encoder is."""
        texts = hashlib.sha256("\n".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()
        return {"texts": texts, "encoder": json.dumps(card_of(self._encoder))}

    def blocks(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """(n, E) float32, `size` texts at a time."""
        for first in range(start, self.rows, size):
            yield self._encoder(self.texts[first : first + size])

    def beside(self, size: int) -> Iterator[Table]:
        """The texts themselves."""
        for first in range(0, self.rows, size):
            yield [{TEXT: text} for text in self.texts[first : first + size]]

    def place_of(self, row: int) -> str:
        """The number of a text, from 1."""
        return f"text {row + 1}"


def read_texts(place: str, encoding: str = "utf-8") -> list[str]:
    """Texts of a file, one a line; `-` is the standard input.

    Raises:
        ValueError: no such file, another encoding, an empty line between texts, or no text at all; names file and line.
    """
    name = "standard input" if place == STDIN else place
    if place == STDIN:
        lines = [*io.TextIOWrapper(sys.stdin.buffer, _without_mark(encoding), "surrogateescape", newline="")]
    elif Path(place).is_file():
        lines = [*lines_of(Path(place), encoding)]
    else:
        raise ValueError(f"{place}: no such file; give a file of texts, one a line, or - for the standard input")
    texts = [line.rstrip("\r\n") for line in lines]
    while texts and not texts[-1].strip():
        texts.pop()
    for number, text in enumerate(texts, start=1):
        try:
            text_of(text, "the line")
        except ValueError as error:
            raise ValueError(f"{name}:{number}: {error}") from None
    if not texts:
        raise ValueError(f"{name}: holds no text; give at least one line")
    return texts


def _without_mark(encoding: str) -> str:
    """The codec that leaves out the mark at the beginning of UTF-8."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
