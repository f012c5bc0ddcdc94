"""What one value of a row is: a text, a vector, or neither. This is the one place where values become numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np

Cell = str | np.ndarray  # a text, or a vector (width,) float32
HALF = re.compile("[\ud800-\udfff]")
SHOWN = 80  # letters of a value in a message
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Infinity)"
# what NumPy 2 and PyTorch write around the numbers of a list, or around the list
WRAPPERS = re.compile(rf"\b(?:np\.|numpy\.|torch\.)?(?:float\d*|int\d*)\(({NUMBER})\)")
OUTER = re.compile(r"^(?:np\.|numpy\.|torch\.)?(?:array|tensor)\((.*?)(?:,\s*(?:dtype|device)=[\w.'\":]+)*\s*\)$", re.S)
LIST = re.compile(rf"^[\[(]\s*{NUMBER}(?:[\s,]+{NUMBER})*[\s,]*[\])]$")
ELIDED = re.compile(rf"^[\[(]\s*{NUMBER}[\s,\d.eE+-]*\.\.\.")


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    words = repr(value)
    return words if len(words) <= SHOWN else f"{words[: SHOWN - 3]}..."


def text_of(value: Any, name: str) -> str:
    """A text that can be written and embedded.

    Raises:
        ValueError: not a text, empty, or with letters that no encoding can write; the message is the reason.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}; give a text")
    if half := HALF.search(value):
        if "\udc80" <= half[0] <= "\udcff":
            raise ValueError(
                f"{name} is not UTF-8 at letter {half.start() + 1}; convert the file, or give its --encoding"
            )
        raise ValueError(f"{name} holds half a surrogate pair (\\u{ord(half[0]):04x}); write the whole letter")
    if not value.strip():
        raise ValueError(f"{name} is empty; give a text")
    return value


def vector_of(value: Any, name: str) -> np.ndarray:
    """A vector (width,) float32 of a list of numbers, an array or a tensor.

    Raises:
        ValueError: no numbers, none at all, not finite, beyond float32, or zeros alone; the message is the reason.
    """
    try:
        numbers = _numbers(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is a list, but not of finite numbers; give a text or a vector") from None
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"{name} is a list of shape {numbers.shape}; give a vector: one list of numbers")
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} is a list, but not of finite numbers (number {int(np.isfinite(numbers).argmin())} is "
            f"{numbers[~np.isfinite(numbers)][0]}); give a text or a vector"
        )
    with np.errstate(over="ignore", under="ignore"):
        vector = numbers.astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} holds {numbers[~np.isfinite(vector)][0]:g}, too large for float32; scale the vectors")
    if not vector.any():
        raise ValueError(f"{name} is a vector of zeros, which has no direction; leave the row out")
    return vector


def list_in(text: str) -> np.ndarray | None:
    """The numbers of a text that is a list, as pandas, NumPy, PyTorch or a database write it: float64; else None.

    Raises:
        ValueError: NumPy left numbers out; the message is the reason.
    """
    found = text.strip()
    if not found or found[0] not in "[(ant":
        return None
    found = WRAPPERS.sub(r"\1", OUTER.sub(r"\1", found).strip())
    if ELIDED.match(found):
        raise ValueError(
            "a vector of which NumPy wrote the beginning and the end alone (...); write it with .tolist(), "
            "or as .npy or Parquet"
        )
    if not LIST.match(found):
        return None
    return np.array([float(number) for number in re.split(r"[\s,]+", found[1:-1].strip(" \t\r\n,"))])


@dataclass
class Column:
    """A column of texts or of vectors; the first row decides which, and how wide.

    Attributes:
        name: of the column.
        lists: whether a text that is a list of numbers is a vector.
        only: the kind that is asked for, where one is.
    """

    name: str
    lists: bool = True
    only: Literal["text", "vector"] | None = None
    kind: Literal["text", "vector"] | None = None
    width: int | None = None

    def cell(self, value: Any) -> Cell:
        """The cell of a value.

        Raises:
            ValueError: the value is neither text nor vector, or not as those before; the message is the reason.
        """
        if value is None or (isinstance(value, float) and np.isnan(value)):
            raise ValueError(f"{self.name} has no value (null); give a text or a vector")
        found = self._parsed(value)
        kind = "text" if isinstance(found, str) else "vector"
        if self.only not in (None, kind):
            raise ValueError(f"{self.name} is {shown(value)}; give a {self.only}")
        if self.kind not in (None, kind):
            raise ValueError(
                f"{self.name} is a {kind} ({shown(value)}) and the rows before hold {self.kind}s; give one kind"
                + (", or --list-cells texts" if isinstance(value, str) and kind == "vector" else "")
            )
        if not isinstance(found, str):
            if self.width not in (None, len(found)):
                raise ValueError(
                    f"{self.name} has a vector of width {len(found)}, those before have {self.width}; give one width"
                )
            self.width = len(found)
        self.kind = kind
        return found

    def _parsed(self, value: Any) -> Cell:
        if isinstance(value, str):
            if self.lists and self.only != "text":
                try:
                    numbers = list_in(value)
                except ValueError as error:
                    raise ValueError(f"{self.name} is {error}") from None
                # one number in brackets is a reference in a text more often than a vector
                if numbers is not None and (len(numbers) > 1 or self.kind == "vector"):
                    return vector_of(numbers, self.name)
            return text_of(value, self.name)
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return vector_of(value, self.name)
        raise ValueError(f"{self.name} is {shown(value)}; give a text or a vector")


def _numbers(value: Any) -> np.ndarray:
    """Float64 numbers of a sequence; booleans, texts and what nests unevenly are refused."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fiu":
            return value.astype(np.float64)
        value = value.tolist()
    if any(isinstance(number, bool) or not isinstance(number, (int, float, Decimal, list)) for number in value):
        raise TypeError
    return np.array([[float(one) for one in number] if isinstance(number, list) else float(number) for number in value])
