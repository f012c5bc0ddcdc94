"""Tables that follow from the configuration, and weights that follow from its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

DRAWN = "rand randn randint randperm normal bernoulli multinomial poisson binomial"
DRAWN_IN_PLACE = "random_ uniform_ normal_ bernoulli_ cauchy_ exponential_ geometric_ log_normal_"
DRAWN_AT_START = "trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_ sparse_"
DRAWING = {*DRAWN.split(), *DRAWN_IN_PLACE.split(), *DRAWN_AT_START.split()}  # all of them take a generator


class Constant:
    """A table made once on the CPU, and copied once to each device and dtype in which it is used.

    It is no buffer: nothing that is done to a model's state changes it. So it is not averaged with the weights, keeps
    its digits in a model of bfloat16, and is there in a model that was built on the device `meta`.

    Args:
        table: the numbers, on the CPU.
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, tensor: Tensor) -> Tensor:
        """The table on the device of `tensor`; a table of floating numbers also in its dtype."""
        dtype = tensor.dtype if self._table.is_floating_point() else self._table.dtype
        if self._table.device == tensor.device and self._table.dtype == dtype:
            return self._table
        if torch.compiler.is_compiling():
            return self._table.to(tensor.device, dtype)
        copy = self._copies.get((tensor.device, dtype))
        if copy is None:
            with torch.inference_mode(False):  # a copy of an inference could not be trained with
                copy = self._table.to(tensor.device, dtype)
            if not (isinstance(copy, FakeTensor) or is_functorch_wrapped_tensor(copy)):
                self._copies[tensor.device, dtype] = copy
        return copy

    def __getstate__(self) -> dict[str, Any]:
        return {"_table": self._table, "_copies": {}}


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of positions and masses beside energies of `dtype`: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


class _OwnGenerator(TorchFunctionMode):
    """While it is entered, all that this thread draws comes from one generator, and torch's own is left alone."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWING and kwargs.get("generator") is None:
            kwargs = kwargs | {"generator": self.generator}
        return func(*args, **kwargs)


@contextmanager
def seeded_start(seed: int, part: str) -> Iterator[torch.device]:
    """While it is entered, modules are built on the CPU with weights that follow from seed and part.

    No global generator of torch is touched, so other threads may build and draw meanwhile, and the same seed gives the
    same weights whatever the default device is. Under `torch.device("meta")` nothing is drawn.

    Yields:
        the default device, to which the caller moves what it built.
    """
    device = torch.get_default_device()
    if device.type == "meta":
        yield device
        return
    digest = hashlib.sha256(f"{seed} {part}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    with torch.device("cpu"), _OwnGenerator(generator):
        yield device
