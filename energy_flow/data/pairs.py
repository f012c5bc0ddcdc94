"""Pairs of embeddings, their texts, and the three splits of a data set.

Shapes: `N` pairs, `E` input width, `T` target width, `V` texts in the bank.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .checked_rows import embeddings_of
from .stored_rows import Rows, select_rows

Size = tuple[int, int]  # columns and rows of the sites of a face


@dataclass(frozen=True)
class PairSet:
    """Inputs and their targets, row by row; texts are optional.

    Attributes:
        inputs: (N, E) float32, in memory or in a file. What is given may be floating rows of any precision, on any
            device, or a NumPy array: it is converted once, and kept on the CPU without a gradient.
        targets: (N, T) float32, likewise.
        input_texts: N texts, or none at all.
        target_texts: N texts, or none at all.
        face: columns and rows of the sites that the rows were made for, where they were made for some.

    Raises:
        ValueError: empty, unequal counts, not floating, a row that is not finite, or a face that is none.
    """

    inputs: Rows
    targets: Rows
    input_texts: Sequence[str] = ()
    target_texts: Sequence[str] = ()
    face: Size | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            object.__setattr__(self, name, embeddings_of(name, getattr(self, name)))
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"inputs has {len(self.inputs)} rows and targets {len(self.targets)}; give one target for each input"
            )
        for name, texts in (("input_texts", self.input_texts), ("target_texts", self.target_texts)):
            if len(texts) not in (0, len(self.inputs)):
                raise ValueError(
                    f"{name} has {len(texts)} texts for {len(self.inputs)} rows; give one for each row or none"
                )
        if self.face is not None:
            check_size("face", self.face)

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some rows."""
        return self.inputs.index_select(0, rows), self.targets.index_select(0, rows)

    def face_of(self, rows: Tensor) -> Size | None:
        """The face of some rows: that of all."""
        return self.face

    def subset(self, rows: Tensor) -> PairSet:
        """Some of the pairs, in the order of `rows`."""

        def chosen(texts: Sequence[str]) -> list[str]:
            return [texts[int(row)] for row in rows.tolist()] if texts else []

        texts = chosen(self.input_texts), chosen(self.target_texts)
        return PairSet(select_rows(self.inputs, rows), select_rows(self.targets, rows), *texts, face=self.face)

    def spaced(self, count: int) -> PairSet:
        """At most `count` pairs at equal distances, always the same ones: examples to look at."""
        return self.subset(self.spaced_rows(count))

    def spaced_rows(self, count: int) -> Tensor:
        """The numbers of those pairs."""
        step = max(1, len(self) // max(1, count))
        return torch.arange(len(self))[: step * count : step]


@dataclass(frozen=True)
class SizedPairs:
    """Pairs of several sizes: a part for each face. A batch has one size.

    Rows are numbered through all parts: those of the first part come first, those of the second go on from there.

    Attributes:
        parts: the pairs of each size, N rows in all; their widths differ.
        faces: columns and rows of the sites of each part, each once.

    Raises:
        ValueError: no part, more or fewer faces than parts, a face twice, or a part that was made for another face.
    """

    parts: tuple[PairSet, ...]
    faces: tuple[Size, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.faces):
            raise ValueError(
                f"{len(self.parts)} parts and {len(self.faces)} faces; give one part at least, and a face for each"
            )
        for part, face in zip(self.parts, self.faces, strict=True):
            check_size("faces", face)
            if part.face not in (None, face):
                raise ValueError(f"faces: {face} for a part that was made for {part.face}; give each part its own face")
        if len(set(self.faces)) < len(self.faces):
            raise ValueError(f"faces = {self.faces}; give each face once")
        labelled = (
            part if part.face else replace(part, face=face) for part, face in zip(self.parts, self.faces, strict=True)
        )
        object.__setattr__(self, "parts", tuple(labelled))

    def __len__(self) -> int:
        return self.offsets[-1]

    @property
    def offsets(self) -> tuple[int, ...]:
        """The number of each part's first row, and N in the end."""
        return tuple(itertools.accumulate(map(len, self.parts), initial=0))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some rows of one part.

        Args:
            rows: (B,) int64, their numbers.

        Raises:
            ValueError: as `face_of`.
        """
        index = self._part_number(rows)
        return self.parts[index].batch(rows - self.offsets[index])

    def face_of(self, rows: Tensor) -> Size:
        """The face of some rows.

        Args:
            rows: (B,) int64, their numbers.

        Raises:
            ValueError: no row, a number that no row has, or rows of several parts.
        """
        return self.faces[self._part_number(rows)]

    def _part_number(self, rows: Tensor) -> int:
        if not len(rows):
            raise ValueError("rows is empty; give one row at least")
        first, last = int(rows.min()), int(rows.max())
        if first < 0 or last >= len(self):
            raise ValueError(f"rows reach from {first} to {last}, and there are {len(self)}; give numbers of rows")
        index, other = (bisect_right(self.offsets, row) - 1 for row in (first, last))
        if index != other:
            raise ValueError(
                f"rows {first} and {last} are of faces {self.faces[index]} and {self.faces[other]}; "
                "give a batch rows of one size"
            )
        return index


Pairs = PairSet | SizedPairs


def parts_of(pairs: Pairs) -> tuple[PairSet, ...]:
    """The pairs of each size, be it one or several."""
    return pairs.parts if isinstance(pairs, SizedPairs) else (pairs,)


def one_size(name: str, pairs: Pairs) -> PairSet:
    """Pairs of one size alone.

    Args:
        name: what the caller calls them; it leads the message.
        pairs: of one size, or of several.

    Raises:
        ValueError: several sizes.
    """
    if isinstance(pairs, SizedPairs):
        sizes = ", ".join(f"{columns} x {rows}" for columns, rows in pairs.faces)
        raise ValueError(f"{name} has pairs of several sizes ({sizes}); give pairs of one size")
    return pairs


def pairs_of(parts: Sequence[PairSet]) -> Pairs:
    """One part as it is, several with a face each as `SizedPairs`.

    Raises:
        ValueError: as `SizedPairs`.
    """
    if len(parts) == 1:
        return parts[0]
    return SizedPairs(tuple(parts), tuple(part.face for part in parts if part.face is not None))


@dataclass(frozen=True)
class TextBank:
    """The candidates that outputs are decoded to.

    Attributes:
        texts: V texts, each once.
        embeddings: (V, T) float32, in memory or in a file; converted as the rows of a `PairSet` are.
        groups: of each text the groups that it belongs to, such as synsets; texts of one group are synonyms. Or none.
    """

    texts: Sequence[str]
    embeddings: Rows
    groups: Sequence[frozenset[str]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "embeddings", embeddings_of("bank embeddings", self.embeddings))
        if len(self.texts) != len(self.embeddings):
            raise ValueError(
                f"the bank has {len(self.texts)} texts and {len(self.embeddings)} embeddings; give one for each text"
            )
        if len(self.groups) not in (0, len(self.texts)):
            raise ValueError(
                f"the bank has {len(self.texts)} texts and groups for {len(self.groups)}; give all or none"
            )


@dataclass(frozen=True)
class PairData:
    """A data set as training wants it. A split has one size, or several (`SizedPairs`).

    Attributes:
        name: what it is called.
        train: what is learned from.
        validation: what choices are made by.
        test: what is looked at in the end.
        bank: what outputs are decoded to, where targets are texts.
        encoders: the names of those that embedded inputs and targets, where they are texts.
        encoder_cards: what decides the bits of their rows, and the fingerprints of their weights.
        task: the synthetic task, where it is one.
        options: of the task, with which these rows were drawn, where it has some.
    """

    name: str
    train: Pairs
    validation: Pairs
    test: Pairs
    bank: TextBank | None = None
    encoders: tuple[str, str] | None = None
    encoder_cards: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    task: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def check_size(name: str, face: Size) -> None:
    """Refuse what is not columns and rows of sites.

    Raises:
        ValueError: not two whole numbers above 0.
    """
    if not (isinstance(face, tuple) and len(face) == 2 and all(type(count) is int and count > 0 for count in face)):
        raise ValueError(f"{name} = {face!r}; give columns and rows of sites, such as (5, 5)")
