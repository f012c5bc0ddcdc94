"""The processes that train one model together, each on its share of every batch; a single one has it all.

Tensors on the device are summed there; small decisions and objects go between the hosts (gloo, on the CPU), and do not
wait for the device.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..utils.logging import logger

T = TypeVar("T")
PATIENCE = timedelta(hours=1)  # how long a process waits for the others: as long as the first may judge or write


class RankLostError(RuntimeError):
    """Another process of the run is gone, so that this one cannot go on."""


class _Failure(NamedTuple):
    """What went wrong on the first process."""

    error: Exception


@contextmanager
def _talking() -> Iterator[None]:
    """What fails in here is named as what it is: the other side does not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).partition("\n")[0].partition("This is typically")[0].strip()
        raise RankLostError(
            f"another process of this run is gone or unreachable ({reason}); look for its words, then start "
            "all of them again with --resume auto, which goes on from the newest checkpoint"
        ) from error


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[None]:
    """While it is entered, this process is one of those that `torchrun` started; nothing happens where it is alone.

    Args:
        device: where this process trains.
    """
    alone = "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1
    if alone or dist.is_initialized():
        yield
        return
    # These have functions with the group as a default argument, if it is there when they are imported (by an optimizer,
    # for one). A group that is held so outlives its end, and its threads can abort the process at the very last.
    for name in ("torch.distributed.nn.functional", "torch.distributed.optim"):
        importlib.import_module(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    cards = "nccl" if dist.is_nccl_available() else "gloo"  # Windows has no NCCL
    dist.init_process_group(f"cpu:gloo,cuda:{cards}" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    logger.info("process %d of %d", dist.get_rank(), dist.get_world_size())
    try:
        yield
        with _talking():
            dist.barrier()  # nobody leaves while another still needs it
    finally:
        dist.destroy_process_group()


class Ranks:
    """The processes that have joined by now. Every method is called by all of them, in the same order.

    Where one of them is gone, the others' calls raise `RankLostError`.

    Attributes:
        rank: this process, from 0.
        count: how many there are.
    """

    def __init__(self) -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` rows; the parts follow one another, and differ by one row at most."""
        return slice(self.rank * count // self.count, (self.rank + 1) * count // self.count)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, which is the same to the bit on each."""
        if self.count > 1:
            with _talking():
                pending = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
                for work in pending:
                    if work is not None:
                        work.wait()

    def copy_first_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by the first process's."""
        if self.count > 1:
            with _talking():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest of each number over the processes."""
        if self.count == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with _talking():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()

    def everyones(self, value: T) -> list[T]:
        """The value of every process, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with _talking():
            dist.all_gather_object(values, value)
        return values

    def bring_to_first(self, value: T) -> list[T]:
        """The value of every process, in their order, on the first; nothing on the others."""
        if self.count == 1:
            return [value]
        values: list[Any] | None = [None] * self.count if self.first else None
        with _talking():
            dist.gather_object(value, values)
        return values or []

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives on the first process, on every process.

        Raises:
            Exception: what it raises there, on every process: so none waits for one that has given up.
        """
        if self.count == 1:
            return make()
        made: list[Any] = [None]
        if self.first:
            try:
                made = [make()]
            except Exception as error:
                made = [_Failure(error)]
        with _talking():
            dist.broadcast_object_list(made, 0)
        if isinstance(made[0], _Failure):
            raise made[0].error
        return made[0]
