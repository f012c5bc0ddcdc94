"""Which rows are trained on and which are held out: what two rows share never stands on both sides.

Shapes: `N` rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .files import Cell
from .text_rows import PairRow, normal_form

HELD_OUT = 0.1  # share of the rows in validation, and in test
TRAIN, VALIDATION, TEST, LEFT_OUT = range(4)
UNKNOWN = 255  # no split yet


def key_of(side: str, value: Cell) -> int:
    """64 bits that tell a text, in its normal form, or a vector of one side from others."""
    words = normal_form(value).encode() if isinstance(value, str) else np.ascontiguousarray(value, "<f4").tobytes()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8, person=side.encode()).digest(), "little")


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
            self.columns.setdefault(side, array("Q")).append(key_of(side, value))
        self.given.append(UNKNOWN if row.split is None else row.split)

    def __len__(self) -> int:
        return len(self.given)

    def arrays(self) -> list[np.ndarray]:
        """The keys, (N,) uint64 of each kind; the targets' are first."""
        names = sorted(self.columns, key=lambda name: name != "target")
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
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def assign_splits(keys: SplitKeys, held_out: float = HELD_OUT, known: KnownSplits | None = None) -> np.ndarray:
    """(N,) uint8: 0 train, 1 validation, 2 test, 3 left out.

    Rows that share an input, a target, a text or a group stay together. What lies where follows from a checksum, so it
    does not depend on the order of the rows, and hardly on the others. A set of rows that hang together and are more
    than a split should hold are trained on. Where a split would be empty, it takes the smallest sets of the training.

    Args:
        keys: of the rows.
        held_out: share of the rows that goes to validation, and share that goes to test.
        known: the splits of an earlier set, which stay; a new row that would join two of them is left out.

    Raises:
        ValueError: the rows hang together in fewer than three sets.
    """
    columns = keys.arrays()
    labels = components(columns)
    chosen, sizes = _by_checksum(labels, columns[0], held_out)
    given = np.frombuffer(keys.given, dtype=np.uint8)
    if known is not None:
        return known.extended(columns, labels, chosen)
    said = given != UNKNOWN
    if said.any():
        return _with_given(labels, given, chosen)
    return _filled(labels, chosen, sizes, held_out)


@dataclass(frozen=True)
class KnownSplits:
    """The splits of an earlier set: a split for every key that its rows have."""

    keys: tuple[np.ndarray, ...]  # uint64, sorted
    splits: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, keys: SplitKeys, split: np.ndarray) -> KnownSplits:
        """Of the rows of that set."""
        found = [np.unique(column, return_index=True) for column in keys.arrays()]
        return cls(tuple(unique for unique, _ in found), tuple(split[first] for _, first in found))

    def extended(self, columns: Sequence[np.ndarray], labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The splits of a set that holds that one and more."""
        if len(columns) != len(self.keys):
            raise ValueError("splits_from: the earlier set has other columns of texts or groups; give one of this kind")
        found = np.stack([_looked_up(*one) for one in zip(columns, self.keys, self.splits, strict=True)])
        own = _agreed(found)  # a row that touches two splits is left out
        rows = len(labels)
        by_label = np.full(rows, UNKNOWN, dtype=np.uint8)
        for split in (TRAIN, VALIDATION, TEST):
            touched = np.zeros(rows, dtype=bool)
            touched[labels[own == split]] = True
            by_label[touched] = np.where(by_label[touched] == UNKNOWN, split, LEFT_OUT)
        inherited = np.where(by_label[labels] == UNKNOWN, chosen, by_label[labels])
        return np.where(own == UNKNOWN, inherited, own).astype(np.uint8)


def _looked_up(column: np.ndarray, keys: np.ndarray, splits: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, column), len(keys) - 1)
    return np.where(keys[place] == column, splits[place], UNKNOWN)


def _agreed(found: np.ndarray) -> np.ndarray:
    """(K, N) to (N,): the one split that is known, unknown where none is, left out where two are."""
    high = np.where(found == UNKNOWN, 0, found).max(axis=0)
    low = found.min(axis=0)
    return np.where(low == UNKNOWN, UNKNOWN, np.where(low == high, low, LEFT_OUT))


def _by_checksum(labels: np.ndarray, targets: np.ndarray, held_out: float) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the split of every row by the least key of its set, and (N,) how many rows its set has."""
    rows = len(labels)
    least = np.full(rows, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, labels, targets)
    counts = np.bincount(labels, minlength=rows)
    share = _mixed(least) / 2.0**64
    split = np.where(share < held_out, TEST, np.where(share < 2 * held_out, VALIDATION, TRAIN))
    split = np.where(counts > max(1.0, held_out * rows), TRAIN, split).astype(np.uint8)
    return split[labels], counts


def _mixed(keys: np.ndarray) -> np.ndarray:
    """The keys as evenly spread numbers: the least of many is small, and would always be tested."""
    mixed = keys.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64)


def _filled(labels: np.ndarray, chosen: np.ndarray, sizes: np.ndarray, held_out: float) -> np.ndarray:
    """The same splits; an empty one takes sets of the training, the smallest first, up to its share."""
    chosen = chosen.copy()
    sets = np.unique(labels)
    if len(sets) < 3:
        raise ValueError(
            f"the rows share their inputs and targets in {len(sets)} set{'s' * (len(sets) != 1)} that cannot be "
            "divided, so nothing can be held out; give rows with more different inputs and targets"
        )
    for split in (TRAIN, VALIDATION, TEST):
        if (chosen == split).any():
            continue
        room = max(1.0, held_out * len(labels)) if split != TRAIN else 1.0
        donors = [TRAIN] if split != TRAIN else [VALIDATION, TEST]
        free = [one for one in sets if chosen[one] in donors]
        if len(free) <= 1 or (split == TRAIN and len(free) < 3):
            free = [one for one in sets if (chosen == chosen[one]).sum() > sizes[one]]
        for one in sorted(free, key=lambda one: (sizes[one], one))[: max(1, len(free) - 1)]:
            if room <= 0 or len(np.unique(labels[chosen == chosen[one]])) < 2:
                break
            chosen[labels == one] = split
            room -= sizes[one]
    return chosen


def _with_given(labels: np.ndarray, given: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The splits that the source says; where it has no validation or no test, they come out of its training."""
    split = np.where(given == UNKNOWN, TRAIN, given).astype(np.uint8)
    tested = np.zeros(len(labels), dtype=bool)
    for held in (VALIDATION, TEST):
        if not (split == held).any():
            tested[labels[given == VALIDATION]] = tested[labels[given == TEST]] = True
            split = np.where((split == TRAIN) & (chosen == held) & ~tested[labels], held, split).astype(np.uint8)
    return split


def leaks(keys: SplitKeys, split: np.ndarray) -> int:
    """How many held-out rows share an input or a target with a row of the training."""
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
