"""What `predict` is given: texts, of the command line or of a file, or vectors of a file.

Shapes: `n` rows of a block, `E` width.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from ..data.text_store import Encoder, card_of
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
        self.texts, self._encoder, self.name = texts, encoder, f"the encoder {encoder.name}"
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


def read_texts(place: str) -> list[str]:
    """Texts of a UTF-8 file, one a line; `-` is the standard input.

    Raises:
        ValueError: no such file, not UTF-8, an empty line between texts, or no text at all; names file and line.
    """
    if place != STDIN and not Path(place).is_file():
        raise ValueError(f"{place}: no such file; give a file of texts, one a line, or - for the standard input")
    name = "standard input" if place == STDIN else place
    content = sys.stdin.buffer.read() if place == STDIN else Path(place).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{name}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    empty = next((number for number, line in enumerate(lines, start=1) if not line.strip()), None)
    if empty is not None:
        raise ValueError(f"{name}:{empty}: the line is empty; give a text on every line")
    if not lines:
        raise ValueError(f"{name}: holds no text; give at least one line")
    return lines
