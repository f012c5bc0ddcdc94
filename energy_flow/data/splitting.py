"""Which rows are trained on and which are held out: what two rows share never stands on both sides.

Rows hang together that share an input, a target, a text beside a vector or a group, directly or through others. Such a
set of rows has one split, which the checksum of its first row's target decides. So a source that grows at its end keeps
its splits, but for rows that a new row ties together; `KnownSplits` keeps them even then.

Shapes: `N` rows, `S` sets of rows that hang together.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .files import Cell, normal_form
from .text_rows import PairRow

HELD_OUT = 0.1  # share of the rows in validation, and in test
TRAIN, VALIDATION, TEST, LEFT_OUT = range(4)
UNKNOWN = 255  # no split yet
FEWEST = 3  # sets of rows that can be divided


def key_of(value: Cell) -> int:
    """64 bits that tell a text, in its normal form, or a vector from others."""
    words = normal_form(value).encode() if isinstance(value, str) else (value.astype("<f4") + 0.0).tobytes()
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "big")


@dataclass
class SplitKeys:
    """What the rows have to share: keys of inputs, of targets, of texts beside vectors, and of groups.

    Attributes:
        columns: for every kind of key one number a row.
        given: the split that the source says, a row; `UNKNOWN` where it says none.
    """

    columns: dict[str, array[int]] = field(default_factory=dict)
    given: array[int] = field(default_factory=lambda: array("B"))

    def add(self, row: PairRow) -> None:
        """Count a row in."""
        found = {"input": row.given, "target": row.wanted}
        found |= {"input text": row.given_text} if row.given_text is not None else {}
        found |= {"target text": row.wanted_text} if row.wanted_text is not None else {}
        found |= {"group": row.group} if row.group is not None else {}
        for side, value in found.items():
            self.columns.setdefault(side, array("Q")).append(key_of(value))
        self.given.append(UNKNOWN if row.split is None else row.split)

    def __len__(self) -> int:
        return len(self.given)

    def arrays(self) -> list[np.ndarray]:
        """The keys, (N,) uint64 of each kind; the targets' are first."""
        names = sorted(self.columns, key=lambda name: (name != "target", name))
        return [np.frombuffer(self.columns[name], dtype=np.uint64) for name in names]


def components(keys: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) int64: rows that share a key, directly or through others, have the same number, that of their first row."""
    rows = len(keys[0])
    labels = np.arange(rows)
    places = [np.unique(column, return_inverse=True)[1] for column in keys]
    while True:
        before = labels
        for place in places:
            lowest = np.full(int(place.max()) + 1, rows)
            np.minimum.at(lowest, place, labels)
            labels = np.minimum(labels, lowest[place])
        np.minimum.at(labels, before, labels.copy())  # what a row learns, the row that it followed learns too
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def assign_splits(keys: SplitKeys, held_out: float = HELD_OUT, known: KnownSplits | None = None) -> np.ndarray:
    """(N,) uint8: 0 train, 1 validation, 2 test, 3 left out.

    A set of rows that hang together and are more than a split should hold is trained on; then so many more of the
    others are held out that the shares are about kept. Where a split would be empty, it takes the smallest sets of
    another one.

    Args:
        keys: of the rows.
        held_out: share of the rows that goes to validation, and share that goes to test.
        known: the splits of an earlier set, which stay; a new row that would join two of them is left out.

    Raises:
        ValueError: the rows hang together in fewer than three sets, or a split that the source says leaves none for
            another.
    """
    columns = keys.arrays()
    firsts, members = np.unique(components(columns), return_inverse=True)
    sizes = np.bincount(members)
    by_checksum = _by_checksum(columns[0][firsts], sizes, held_out)
    given = np.frombuffer(keys.given, dtype=np.uint8)
    if (given != UNKNOWN).any():
        chosen = _with_given(members, given, by_checksum)
    else:
        chosen = (by_checksum if known else _filled(by_checksum, sizes, held_out))[members]
    return chosen if known is None else known.extended(columns, chosen)


@dataclass(frozen=True)
class KnownSplits:
    """The splits of an earlier set: for every key that its rows have, and for whole rows."""

    keys: tuple[np.ndarray, ...]  # uint64, sorted; of each column, and last of rows
    splits: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, keys: SplitKeys, split: np.ndarray) -> KnownSplits:
        """Of the rows of that set; a row that was left out says nothing about its keys."""
        used = split != LEFT_OUT
        columns = [column[used] for column in keys.arrays()]
        found = [np.unique(column, return_index=True) for column in (*columns, _of_rows(columns))]
        return cls(tuple(unique for unique, _ in found), tuple(split[used][first] for _, first in found))

    def extended(self, columns: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray:
        """(N,) the splits of a set that holds that one and more.

        Args:
            columns: (N,) keys of each kind.
            chosen: (N,) what a row gets that has nothing to do with the earlier set.

        Raises:
            ValueError: the earlier set has other columns.
        """
        if len(columns) + 1 != len(self.keys):
            raise ValueError("splits_from: the earlier set has other columns of texts or groups; give one of this kind")
        places = zip((*columns, _of_rows(columns)), self.keys, self.splits, strict=True)
        *found, whole = (_looked_up(*one) for one in places)
        split = chosen.copy()
        old = whole != UNKNOWN
        split[old] = whole[old]
        new = np.flatnonzero(~old)
        if len(new):
            split[new] = _of_new_rows([one[new] for one in columns], [one[new] for one in found], chosen[new])
        return split.astype(np.uint8)


def leaks(keys: SplitKeys, split: np.ndarray) -> int:
    """How many held-out rows share an input, a target, a text or a group with a row of the training."""
    found = np.zeros(len(split), dtype=bool)
    for column in keys.arrays():
        found |= np.isin(column, column[split == TRAIN]) & ((split == VALIDATION) | (split == TEST))
    return int(found.sum())


def keys_of(rows: Iterable[PairRow]) -> SplitKeys:
    """The keys of rows."""
    keys = SplitKeys()
    for row in rows:
        keys.add(row)
    return keys


def _by_checksum(targets: np.ndarray, sizes: np.ndarray, held_out: float) -> np.ndarray:
    """(S,) the split of each set of rows.

    The keys fall into bands, each `held_out` wide: the first is tested, the second validates, and so on in turn, two
    bands for every time that the rows in the large sets, which cannot be held out, are to be made up for. So a set of
    rows is never moved from one held-out split to the other.

    Args:
        targets: (S,) key of the first row's target.
        sizes: (S,) how many rows there are.
        held_out: share of the rows in each of the two splits.
    """
    rows = int(sizes.sum())
    large = sizes > max(1.0, held_out * rows)
    free = rows - int(sizes[large].sum())
    bands = 2 * min(max(1, int(1 / (2 * held_out))), max(1, round(rows / max(1, free))))
    band = np.floor(targets / 2.0**64 / held_out)
    split = np.where(band >= bands, TRAIN, np.where(band % 2 == 0, TEST, VALIDATION))
    return np.where(large, TRAIN, split).astype(np.uint8)


def _filled(split: np.ndarray, sizes: np.ndarray, held_out: float) -> np.ndarray:
    """(S,) the same splits; an empty one takes sets of rows from another, the smallest first, up to its share."""
    if len(split) < FEWEST:
        raise ValueError(
            f"the rows share their inputs and targets in {len(split)} set{'s' * (len(split) != 1)} that cannot be "
            "divided, so nothing can be held out; give rows with more different inputs and targets"
        )
    split = split.copy()
    for wanted in (TRAIN, TEST, VALIDATION):
        if (split == wanted).any():
            continue
        room = 1.0 if wanted == TRAIN else max(1.0, held_out * float(sizes.sum()))
        for one in np.lexsort((sizes, split != TRAIN)).tolist():  # of the training first
            if room > 0 and (split == split[one]).sum() > 1 and (split[one] == TRAIN or not (split == wanted).any()):
                split[one] = wanted
                room -= float(sizes[one])
            if room <= 0:
                break
    return split


def _with_given(members: np.ndarray, given: np.ndarray, by_checksum: np.ndarray) -> np.ndarray:
    """(N,) the splits that the source says; where it has no validation or no test, they come out of its training.

    Raises:
        ValueError: nothing of the training can be taken for one that is missing.
    """
    split = np.where(given == UNKNOWN, TRAIN, given).astype(np.uint8)
    for held in (VALIDATION, TEST):
        if (given == held).any():
            continue
        free = np.ones(len(by_checksum), dtype=bool)  # sets of rows that lie in the training as a whole
        free[members[split != TRAIN]] = False
        taken = free & (by_checksum == held)
        if not taken.any() and free.sum() > 1:
            taken[np.flatnonzero(free)[-1]] = True
        if not taken.any():
            raise ValueError(
                "the source has its own splits, but no "
                f"{'validation' if held == VALIDATION else 'test'}, and no rows of its training can be taken for it, "
                "as they share their inputs and targets with one another or with held-out rows; give all three splits"
            )
        split[taken[members]] = held
    return split


def _of_new_rows(columns: Sequence[np.ndarray], found: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """(n,) the splits of rows that the earlier set has not: that of the rows they touch, or the one they would have.

    Rows that touch two splits, directly or through other new rows, are left out: joined, they would leak.
    """
    own = np.arange(len(chosen), dtype=np.uint64)
    fresh = []  # keys that the earlier set has tie nothing here, as they have their split
    for column, split in zip(columns, found, strict=True):
        _, place = np.unique(column, return_inverse=True)
        fresh.append(np.where(split == UNKNOWN, place, own + np.uint64(len(column))).astype(np.uint64))
    labels = components(fresh)
    touched = np.full(len(chosen), UNKNOWN, dtype=np.uint8)
    for split in found:
        for known in (TRAIN, VALIDATION, TEST):
            there = np.zeros(len(chosen), dtype=bool)
            there[labels[split == known]] = True
            touched[there & (touched != known)] = np.where(
                touched[there & (touched != known)] == UNKNOWN, known, LEFT_OUT
            )
    return np.where(touched[labels] == UNKNOWN, chosen, touched[labels])


def _of_rows(columns: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) a key of the whole row."""
    key = np.zeros_like(columns[0])
    for column in columns:
        key = (key * np.uint64(0x9E3779B97F4A7C15)) ^ column
    return key


def _looked_up(column: np.ndarray, keys: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """(N,) the splits of keys; unknown where they are not there."""
    place = np.minimum(np.searchsorted(keys, column), len(keys) - 1)
    return np.where(keys[place] == column, splits[place], UNKNOWN)
