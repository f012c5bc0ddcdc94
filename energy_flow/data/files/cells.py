"""What one value of a row is: a text, a vector, or neither. This is the one place where values become numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from .spelled import NUMBER, ListError, list_in
from .texts import shown, text_of

Cell = str | np.ndarray  # a text, or a vector (width,) float32
Kind = Literal["text", "vector"]
SPELLED = re.compile(NUMBER)
FEW = 8  # numbers: a list of fewer in a column of texts is a text


def vector_of(value: Any, name: str) -> np.ndarray:
    """A vector (width,) float32 of a list of numbers, an array or a tensor, or of a matrix of one row.

    Raises:
        ValueError: no numbers, none at all, not finite, beyond float32, or zeros alone; the message is the reason.
    """
    try:
        numbers = _numbers(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError(f"{name} is a list, but not of finite numbers; give a text or a vector") from None
    if numbers.ndim == 2 and len(numbers) == 1:
        numbers = numbers[0]
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


@dataclass
class Column:
    """A column of texts or of vectors; what most of the first rows hold decides which, and how wide.

    Attributes:
        name: of the column.
        lists: whether a text that is a list of numbers is a vector.
        only: the kind that is asked for, where one is.
        kind: of the cells, once it is known.
        width: of the vectors, once it is known.
    """

    name: str
    lists: bool = True
    only: Kind | None = None
    kind: Kind | None = None
    width: int | None = None

    def decide(self, values: Iterable[Any]) -> None:
        """Take the kind and the width that most of the values have; the first one's where as many have others."""
        kinds: Counter[Kind] = Counter()
        widths: Counter[int] = Counter()
        for value in values:
            try:
                found = self._parsed(value)
            except ValueError:
                continue
            kinds["text" if isinstance(found, str) else "vector"] += 1
            widths[len(found)] += not isinstance(found, str)
        if kinds:
            self.kind = self.only or kinds.most_common(1)[0][0]
            self.width = widths.most_common(1)[0][0] if self.kind == "vector" and any(widths.values()) else None

    def cell(self, value: Any) -> Cell:
        """The cell of a value.

        Raises:
            ValueError: the value is neither text nor vector, or not as most are; the message is the reason.
        """
        found = self._parsed(value)
        kind: Kind = "text" if isinstance(found, str) else "vector"
        if self.only not in (None, kind):
            raise ValueError(f"{self.name} is {shown(value)}; give a {self.only}")
        if self.kind not in (None, kind):
            raise ValueError(
                f"{self.name} is a {kind} ({shown(value)}) and most rows hold {self.kind}s; give one kind"
                + (", or --list-cells texts" if isinstance(value, str) and self.lists else "")
            )
        if not isinstance(found, str):
            if self.width not in (None, len(found)):
                raise ValueError(
                    f"{self.name} has a vector of width {len(found)}, most have {self.width}; give one width"
                )
            self.width = len(found)
        self.kind = kind
        return found

    def _parsed(self, value: Any) -> Cell:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            raise ValueError(f"{self.name} has no value (null); give a text or a vector")
        if isinstance(value, str):
            numbers = self._numbers_in(value) if self.lists and self.only != "text" else None
            return text_of(value, self.name) if numbers is None else vector_of(numbers, self.name)
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return vector_of(value, self.name)
        raise ValueError(f"{self.name} is {shown(value)}; give a text or a vector")

    def _numbers_in(self, text: str) -> np.ndarray | None:
        """The numbers of a text that is a list; where it is more likely a text, as [1] among others is, None."""
        fewest = 1 if "vector" in (self.kind, self.only) else FEW if self.kind == "text" else 2
        try:
            numbers = list_in(text)
        except ListError as error:
            if error.count < fewest:
                return None
            raise ValueError(f"{self.name} is {error}, or give --list-cells texts") from None
        return None if numbers is None or len(numbers) < fewest else numbers


def _numbers(value: Any) -> np.ndarray:
    """Float64 numbers of a sequence; booleans, other texts and what nests unevenly are refused."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fiu":
            return value.astype(np.float64)
        value = value.tolist()
    return np.array([_numbers(number) if isinstance(number, list) else _number(number) for number in value])


def _number(value: Any) -> float:
    """A number, or a text that is one."""
    if isinstance(value, float):
        return value
    spelled = isinstance(value, str) and SPELLED.fullmatch(value)
    if isinstance(value, bool) or not (spelled or isinstance(value, (int, Decimal))):
        raise TypeError
    return float(value)
