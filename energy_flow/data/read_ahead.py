"""Batches that are read by threads while the step before them runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from torch import Tensor

from .pairs import PairSet


class LoadedBatch(NamedTuple):
    """The rows of a batch, and what stands in them."""

    rows: Tensor  # (B,) int64, of the pair set
    inputs: Tensor  # (B, E)
    targets: Tensor  # (B, T)


def read_ahead(
    pairs: PairSet, batches: Sequence[Tensor], workers: int = 1, pinned: bool = False
) -> Generator[LoadedBatch, None, None]:
    """Read batches in their order; with workers, the next ones while the caller works. Close the iterator in the end.

    Args:
        pairs: what is read from.
        batches: the rows of each batch.
        workers: threads that read, and batches that are read ahead; 0 reads when asked. The batches are the same.
        pinned: put the rows into page-locked memory, from which a GPU copies while it computes.
    """

    def read(rows: Tensor) -> LoadedBatch:
        inputs, targets = pairs.batch(rows)
        return (
            LoadedBatch(rows, inputs.pin_memory(), targets.pin_memory())
            if pinned
            else LoadedBatch(rows, inputs, targets)
        )

    if workers == 0:
        yield from map(read, batches)
        return
    coming = iter(batches)
    with ThreadPoolExecutor(workers, thread_name_prefix="read_ahead") as threads:
        pending: deque[Future[LoadedBatch]] = deque()
        try:
            while True:
                while len(pending) <= workers and (rows := next(coming, None)) is not None:
                    pending.append(threads.submit(read, rows))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
