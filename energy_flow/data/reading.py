"""Batches of pairs, read while the one before is worked on.

Shapes: `B` pairs of a batch, `E` input width, `T` target width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from torch import Tensor

from .pairs import Pairs, Size


class Batch:
    """Some pairs of a set, read when they are asked for.

    Args:
        rows: (B,) int64, their numbers in the set.
        read: gives their inputs (B, E) and targets (B, T).
        face: columns and rows of the sites that they were made for, where they were made for some.
    """

    def __init__(self, rows: Tensor, read: Callable[[], tuple[Tensor, Tensor]], face: Size | None = None) -> None:
        self.rows, self.face, self._read = rows, face, read
        self._pairs: tuple[Tensor, Tensor] | None = None

    def read(self) -> tuple[Tensor, Tensor]:
        """(B, E) inputs and (B, T) targets; they are read once."""
        if self._pairs is None:
            self._pairs = self._read()
        return self._pairs


def read_ahead(
    pairs: Pairs, batches: Sequence[Tensor], workers: int = 1, pinned: bool = False
) -> Generator[Batch, None, None]:
    """The batches in their order; with workers, threads read the next ones while the caller works. Close it in the end.

    Args:
        pairs: what is read from.
        batches: the rows of each batch.
        workers: threads that read, and batches that are read ahead; 0 reads when asked. The batches are the same.
        pinned: put the rows into page-locked memory, from which a GPU copies while it computes.
    """

    def read(rows: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = pairs.batch(rows)
        return (inputs.pin_memory(), targets.pin_memory()) if pinned else (inputs, targets)

    if workers == 0:
        for rows in batches:
            yield Batch(rows, partial(read, rows), pairs.face_of(rows))
        return
    coming = iter(batches)
    with ThreadPoolExecutor(workers, thread_name_prefix="read_ahead") as threads:
        pending: deque[tuple[Tensor, Future[tuple[Tensor, Tensor]]]] = deque()
        try:
            while True:
                while len(pending) <= workers and (rows := next(coming, None)) is not None:
                    pending.append((rows, threads.submit(read, rows)))
                if not pending:
                    return
                rows, future = pending.popleft()
                yield Batch(rows, future.result, pairs.face_of(rows))
        finally:
            for _, future in pending:
                future.cancel()
