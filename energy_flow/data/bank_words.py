"""Words that are asked for, and the texts of a bank that they are, however they are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


class BankWords:
    """Finds the text of a bank for a word: as it is written, or composed, or whatever its capitals.

    Args:
        texts: of the bank; where several differ in their capitals alone, the first one stands for all.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = dict.fromkeys(texts)
        self._composed = {_composed(text): text for text in reversed(texts)}
        self._folded = {_folded(text): text for text in reversed(texts)}

    def find(self, word: str) -> str | None:
        """The text of the bank; None where there is none."""
        if word in self._texts:
            return word
        return self._composed.get(_composed(word)) or self._folded.get(_folded(word))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", _composed(text).casefold())
