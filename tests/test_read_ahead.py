"""Threads that read ahead change nothing but the waiting."""

from __future__ import annotations

import threading

import pytest
import torch

from energy_flow.data import PairSet
from energy_flow.data.reading import read_ahead

ROWS = torch.arange(20.0)[:, None].repeat(1, 3)
BATCHES = torch.randperm(20, generator=torch.Generator().manual_seed(0)).split(3)


class Watched(PairSet):
    """Notes what is read, and fails where it is told to."""

    def batch(self, rows):
        object.__setattr__(self, "read", [*getattr(self, "read", []), rows.tolist()])
        if 7 in rows.tolist() and getattr(self, "broken", False):
            raise ValueError("row 7 cannot be read")
        return super().batch(rows)


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_come_in_order_whoever_reads_them(workers: int) -> None:
    loaded = list(read_ahead(PairSet(ROWS, -ROWS), BATCHES, workers))
    assert [batch.rows.tolist() for batch in loaded] == [rows.tolist() for rows in BATCHES]
    for batch in loaded:
        rows, (inputs, targets) = batch.rows, batch.read()
        assert torch.equal(inputs, ROWS[rows])
        assert torch.equal(targets, -ROWS[rows])
    assert not readers()


def test_workers_read_while_the_caller_works() -> None:
    pairs = Watched(ROWS, ROWS)
    loaded = read_ahead(pairs, BATCHES, 2)
    next(loaded)
    for thread in [one for one in threading.enumerate() if one.name.startswith("read_ahead")]:
        thread.join(0.2)
    assert sorted(pairs.read) == sorted(rows.tolist() for rows in BATCHES[:3])  # type: ignore[attr-defined]
    loaded.close()
    assert not readers()


def test_an_error_comes_at_its_batchs_turn() -> None:
    pairs = Watched(ROWS, ROWS)
    object.__setattr__(pairs, "broken", True)
    whole, loaded = next(n for n, rows in enumerate(BATCHES) if 7 in rows), read_ahead(pairs, BATCHES, 3)
    assert whole > 0
    for _ in range(whole):
        next(loaded).read()
    with pytest.raises(ValueError, match="row 7 cannot be read"):
        next(loaded).read()
    loaded.close()
    assert not readers()
