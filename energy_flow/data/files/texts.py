"""Texts that can be written and embedded, and values in messages."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

UNWRITABLE = re.compile("[\ud800-\udfff\0]")
SHOWN = 80  # letters of a value in a message


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    return cut(repr(value[: 2 * SHOWN] if isinstance(value, str) else value))


def cut(words: str) -> str:
    """Words in a message, cut where they are long."""
    return words if len(words) <= SHOWN else f"{words[: SHOWN - 3]}..."


def normal_form(text: str) -> str:
    """A text as it is compared: composed (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def text_of(value: Any, name: str) -> str:
    """A text that can be written and embedded.

    Raises:
        ValueError: not a text, empty, or with letters that no encoding can write; the message is the reason.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}; give a text")
    if found := UNWRITABLE.search(value):
        raise ValueError(f"{name} {_of_letter(found[0], found.start() + 1)}")
    if not value.strip():
        raise ValueError(f"{name} is empty; give a text")
    return value


def _of_letter(letter: str, place: int) -> str:
    if letter == "\0":
        return f"holds a zero byte at letter {place}; take it out"
    if "\udc80" <= letter <= "\udcff":  # what the decoder makes of a byte that it cannot read
        return (
            f"is not UTF-8, or not what --encoding says, at letter {place}; convert the file, or give its --encoding, "
            "which is often cp1252"
        )
    return f"holds half a surrogate pair (\\u{ord(letter):04x}); write the whole letter"
