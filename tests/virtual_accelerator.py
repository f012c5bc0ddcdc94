"""A virtual accelerator in Python, as strict about devices as CUDA, for machines that have none.

`install()` makes torch know a device `virtual`, once for the whole process: so it is for a process of its own. Its
tensors hold their numbers in a CPU tensor. What is modelled: which operations may mix devices, which calls wait for the
device, page-locked memory, autocast of products, out of memory, and a build without kernels for the card. What is not:
streams, graphs, the compiler, and more than one card.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, deque
from types import SimpleNamespace
from typing import ClassVar

import torch
from torch import Tensor

NAME = "virtual"
ATEN = torch.ops.aten
TOTAL = 32 * 2**30
# pointwise operations, in which CUDA takes a 0-dimensional tensor of the CPU
SCALARS = {
    "add",
    "sub",
    "rsub",
    "mul",
    "div",
    "pow",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "where",
    "masked_fill",
    "lerp",
}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal"}
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
MADE_ON_THE_HOST = ["arange", "arange.start", "arange.start_step", "randperm", "randperm.generator", "eye", "linspace"]


class State:
    """What the device does next, and what has been seen."""

    waits: ClassVar[Counter] = Counter()  # by kind and line
    out_of_memory_after: int | None = None  # products
    no_kernels = False
    in_backward = 0
    postponed: Exception | None = None


def fail(error: Exception) -> None:
    """Raise it; in a backward pass at its end, as the engine cannot be left by an error of Python."""
    if not State.in_backward:
        raise error
    State.postponed = State.postponed or error


def wait(kind: str) -> None:
    """Note down that the host waits for the device, and for which line of the package."""
    frame = sys._getframe(1)
    while frame is not None and "/energy_flow/" not in frame.f_code.co_filename:
        frame = frame.f_back
    where = "" if frame is None else f" in {frame.f_code.co_filename.split('/energy_flow/')[1]}:{frame.f_lineno}"
    State.waits[f"{kind}{where}"] += 1


@contextlib.contextmanager
def counted_waits():
    """The waits of what is done inside."""
    before, State.waits = State.waits, Counter()
    try:
        yield State.waits
    finally:
        State.waits = before


class VirtualTensor(Tensor):
    """A tensor on the device; `raw` has its numbers."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor) -> VirtualTensor:
        size, strides, offset = raw.size(), raw.stride(), raw.storage_offset()
        self = Tensor._make_wrapper_subclass(
            cls, size, strides=strides, storage_offset=offset, dtype=raw.dtype, device=f"{NAME}:0"
        )
        self.raw = raw
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def tolist(self):
        wait("tolist")
        return self.raw.tolist()

    def numpy(self, *, force=False):
        raise TypeError("can't convert a tensor of the device to numpy")

    def __deepcopy__(self, memo):
        copied = VirtualTensor(self.raw.detach().clone())
        memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad) if hasattr(self, "_is_param") else copied
        return memo[id(self)]


def each(change, value):
    """A function of every tensor or number of what an operation takes or gives."""
    return type(value)(each(change, one) for one in value) if type(value) in (tuple, list) else change(value)


def tensors_of(values) -> list[Tensor]:
    nested = [one for value in values if isinstance(value, list | tuple) for one in tensors_of(value)]
    return [one for one in values if isinstance(one, Tensor)] + nested


def raw_of(value):
    return value.raw if isinstance(value, VirtualTensor) else value


def name_of(func) -> str:
    name = func._schema.name.split("::")[1]
    return name.removesuffix("_") if not name.startswith("_") else name


def check_devices(name: str, func, flat) -> None:
    """What CUDA refuses: tensors of two devices, but for scalars of the CPU in pointwise operations."""
    strangers = [one for one in flat if not isinstance(one, VirtualTensor)]
    if not strangers or len(strangers) == len(flat):
        return
    if name == "index" and isinstance(flat[0], VirtualTensor):
        wait("index from the CPU")
    elif not (name in SCALARS and isinstance(flat[0], VirtualTensor) and all(one.dim() == 0 for one in strangers)):
        fail(RuntimeError(f"Expected all tensors to be on the same device: {func}"))


def run(func, args, kwargs):
    """One operation on the numbers, after the device's rules."""
    name, flat = name_of(func), tensors_of(args) + tensors_of(kwargs.values())
    if State.no_kernels and name == "add":
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nand more")
    if name in PRODUCTS and State.out_of_memory_after is not None:
        State.out_of_memory_after -= 1
        if State.out_of_memory_after < 0:
            State.out_of_memory_after = None
            fail(torch.OutOfMemoryError("virtual out of memory"))
    if name == "_to_copy":
        return to_copy(args[0], **kwargs)
    if name in ("copy", "_copy_from"):
        return copy(args[0], args[1], args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    check_devices(name, func, flat)
    masks = [one for one in flat if isinstance(one, VirtualTensor) and one.dtype == torch.bool]
    if name in WAITS or (name == "index" and masks):
        wait(name)
    own = {id(one.raw): one for one in flat if isinstance(one, VirtualTensor)}
    args, kwargs = each(raw_of, args), {key: each(raw_of, one) for key, one in kwargs.items()}
    to_host = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    kwargs = kwargs | ({"device": torch.device("cpu")} if kwargs.get("device") is not None else {})
    kwargs.pop("pin_memory", None)

    def wrap(one):
        if not isinstance(one, Tensor) or to_host:
            return one
        return own[id(one)] if id(one) in own else VirtualTensor(one)

    return each(wrap, func(*args, **kwargs))


def to_copy(source, *, device=None, non_blocking=False, pin_memory=None, **kwargs):
    device = source.device if device is None else torch.device(device)
    made = ATEN._to_copy.default(source.raw if isinstance(source, VirtualTensor) else source, **kwargs)
    if not isinstance(source, VirtualTensor):
        upload(source, non_blocking)
    elif device.type == "cpu":
        wait("copy to the CPU")
        return made
    return VirtualTensor(made)


def copy(to, source, non_blocking):
    if not isinstance(source, VirtualTensor):
        upload(source, non_blocking)
    elif not isinstance(to, VirtualTensor):
        wait("copy to the CPU")
    raw = [one.raw if isinstance(one, VirtualTensor) else one for one in (to, source)]
    raw[0].copy_(raw[1])
    return to


def upload(source: Tensor, non_blocking: bool) -> None:
    if not (non_blocking and source.is_pinned()):
        wait("copy from pageable memory")


pinned: deque[Tensor] = deque(maxlen=64)  # kept, so that their addresses are not used again


def pin_memory(self: Tensor) -> Tensor:
    if isinstance(self, VirtualTensor):
        raise RuntimeError("only dense CPU tensors can be pinned")
    pinned.append(self.clone())
    return pinned[-1]


def is_pinned(self: Tensor) -> bool:
    return any(one.untyped_storage().data_ptr() == self.untyped_storage().data_ptr() for one in pinned)


def refuse(*_):
    raise type("NVMLError", (Exception,), {})("not supported")


seeded: list[int] = []
RANDOM = torch.arange(16, dtype=torch.uint8)
MODULE = SimpleNamespace(  # stands in for `torch.cuda`; what is not here fails, as on a device that lacks it
    is_initialized=lambda: True,
    is_available=lambda: True,
    current_device=lambda: 0,
    device_count=lambda: 1,
    _is_in_bad_fork=lambda: False,
    manual_seed_all=seeded.append,
    get_amp_supported_dtype=lambda: [torch.bfloat16],
    is_bf16_supported=lambda including_emulation: True,
    get_device_name=lambda device: "virtual card",
    get_device_properties=lambda device: SimpleNamespace(total_memory=TOTAL, major=12, minor=0),
    memory_allocated=lambda device: 2**20,
    max_memory_allocated=lambda device: 2**21,
    utilization=refuse,
    empty_cache=lambda: None,
    get_rng_state=lambda device: RANDOM,
    set_rng_state=lambda state, device: RANDOM.copy_(state),
)


def install() -> None:
    """Make torch know the device."""
    from torch.optim import optimizer
    from torch.utils import _foreach_utils as foreach
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=MODULE)
    aten, rest = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    kept.extend((aten, rest))

    def maker(op):
        def make(*args, device=None, pin_memory=None, layout=None, memory_format=None, **kwargs):
            return VirtualTensor(op(*args, **kwargs))

        return make

    for name in ("empty.memory_format", "empty_strided", *MADE_ON_THE_HOST):
        packet, _, kind = name.partition(".")
        aten.impl(name, maker(getattr(getattr(ATEN, packet), kind or "default")), "PrivateUse1")
    aten.impl("_copy_from", lambda source, to, non_blocking=False: copy(to, source, non_blocking), "PrivateUse1")
    rest.fallback(lambda op, *args, **kwargs: run(op, args, kwargs), "PrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in (*PRODUCTS, "linear", "matmul"):
        aten.impl(name, in_bfloat16(getattr(ATEN, name).default), "AutocastPrivateUse1")
    Tensor.pin_memory, Tensor.is_pinned = pin_memory, is_pinned
    foreach._foreach_supported_types.append(VirtualTensor)
    optimizer._foreach_supported_types.append(VirtualTensor)
    torch.autograd.set_multithreading_enabled(False)
    engine = torch.autograd._engine_run_backward

    def run_backward(*args, **kwargs):
        State.in_backward, State.postponed = State.in_backward + 1, None
        try:
            found = engine(*args, **kwargs)
        finally:
            State.in_backward -= 1
        if State.postponed is not None:
            raise State.postponed
        return found

    torch.autograd._engine_run_backward = run_backward
    sys.modules[f"torch.{NAME}"] = getattr(torch, NAME)


def in_bfloat16(op):
    """What autocast does to a product."""

    def kernel(*args):
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            dtype = torch.get_autocast_dtype(NAME)
            return op(*(one.to(dtype) if isinstance(one, Tensor) and one.is_floating_point() else one for one in args))

    return kernel


kept: list[torch.library.Library] = []
