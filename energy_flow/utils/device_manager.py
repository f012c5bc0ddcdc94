"""Picks the device and the precision, says why, and reports memory."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from .logging import logger
from .memory_limit import container_limit


class MemoryReport(NamedTuple):
    """Memory in bytes: of the accelerator, or of the process on a CPU."""

    used: int
    peak: int
    total: int | None  # that there is, or that a container allows; None where it is not known


NEARLY_FULL = 0.92  # share of the device's memory from which on it is said aloud
LONGEST_REASON = 200  # characters of a compiler's words
COMPILED_BY_TRITON = ("cuda", "xpu")


class DeviceManager:
    """The device and the precision of a run.

    Args:
        device: `auto`, or a device that torch knows, such as `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto`, `float32` or `bfloat16`; auto is bfloat16 on a card that has it, else float32.

    Raises:
        ValueError: no such device here, one that this build of torch has no kernels for, or a precision that the
            device does not have.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self.device, device_reason = _pick_device(device)
        _require_kernels(self.device)
        self.precision, precision_reason = _pick_precision(precision, self.device)
        self.reason = f"{self.device} ({device_reason}), {self.precision} ({precision_reason})"
        self._warned = False
        self._tells_utilization = True

    @property
    def copies_from_pinned_memory(self) -> bool:
        """Whether rows in page-locked memory reach the device while it computes."""
        return self.device.type not in ("cpu", "mps")

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which a forward pass has this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")  # type: ignore[return-value]

    def compiler_missing(self) -> str:
        """What torch.compile would need here and does not find; empty where nothing is missing.

        The first call of a process compiles a tiny function on the device, which takes seconds.
        """
        if self.device.type in COMPILED_BY_TRITON:
            if importlib.util.find_spec("triton") is None:
                return "Triton is not installed"
        elif self.device.type == "cpu":
            if not (any(map(shutil.which, ("g++", "clang++", "cl"))) or os.environ.get("CXX")):
                return "no C++ compiler was found"
        else:
            return f"{self.device} is not supported"
        return _compile_fault(self.device)

    def empty_cache(self) -> None:
        """Give memory that torch keeps for later tensors back to the device."""
        if self.device.type != "cpu":
            torch.get_device_module(self.device).empty_cache()

    def watch_memory(self) -> MemoryReport:
        """Memory as `memory` gives it; the first time that it was nearly full, a warning says so."""
        report = self.memory()
        if report.total and report.peak > NEARLY_FULL * report.total and not self._warned:
            self._warned = True
            peak, total = report.peak / 2**30, report.total / 2**30
            logger.warning(
                "memory of %s is nearly full: %.1f of %.1f GiB; lower batch_size, or raise accumulation",
                self.device,
                peak,
                total,
            )
        return report

    def utilization(self) -> float | None:
        """Percent of the last moment (up to a second) in which the card was busy; None where nothing tells it.

        Read from NVIDIA's management library, for which `nvidia-ml-py` must be there (extra `cli`).
        """
        ask = None if self.device.type == "cpu" else getattr(torch.get_device_module(self.device), "utilization", None)
        if ask is None or not self._tells_utilization or importlib.util.find_spec("pynvml") is None:
            return None
        try:
            return float(ask(self.device))
        except Exception as error:  # the library has errors of its own, and a figure less must not end a run
            self._tells_utilization = False
            logger.info("no gpu_utilization among the figures: %s", error)
            return None

    def memory(self) -> MemoryReport:
        """Memory that torch's tensors, or on a CPU the process, take now; its peak, and what the device has."""
        if self.device.type == "cpu":
            return _process_memory()
        if self.device.type == "mps":
            mps = torch.mps
            return MemoryReport(
                mps.current_allocated_memory(), mps.driver_allocated_memory(), mps.recommended_max_memory()
            )
        card = torch.get_device_module(self.device)
        total = card.get_device_properties(self.device).total_memory
        return MemoryReport(card.memory_allocated(self.device), card.max_memory_allocated(self.device), total)


def _pick_device(wanted: str) -> tuple[torch.device, str]:
    found = torch.accelerator.current_accelerator(check_available=True)
    if wanted == "auto" and found is None:
        return torch.device("cpu"), "no accelerator found"
    try:
        device = found if wanted == "auto" and found is not None else torch.device(wanted)
        reason = "as asked"
        if device.type == "mps":
            reason = "Apple GPU"
        elif found is not None and device == torch.device(found.type):  # without a number
            device = torch.device(found.type, _own_card(found.type))
            reason = str(torch.get_device_module(device).get_device_name(device.index))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"device = {wanted!r}: {said}; give auto, cpu, or a device that this machine has") from error
    if device.type == "meta":
        raise ValueError("device = 'meta' holds no data; give auto, cpu, or a device that this machine has")
    return device, reason


def _own_card(kind: str) -> int:
    """The card of this process: by its number on this machine where `torchrun` started it, else the current one."""
    cards = torch.get_device_module(kind).device_count()
    number = os.environ.get("LOCAL_RANK")
    if number is None:
        return torch.get_device_module(kind).current_device()
    if int(number) >= cards:
        raise ValueError(
            f"device = {kind!r}: process {number} of this machine has no card of its own, there are {cards}; "
            f"start at most {cards} with --nproc-per-node, or train with --device cpu"
        )
    return int(number)


def _require_kernels(device: torch.device) -> None:
    """Run a tiny kernel, so that a build of torch that is too old or too new for the card is named at the start."""
    try:
        torch.ones(1, device=device).add(1).tolist()
    except RuntimeError as error:
        if "no kernel image" not in str(error):
            raise
        card = torch.get_device_module(device)
        made = card.get_device_properties(device)
        raise ValueError(
            f"device = '{device}': torch {torch.__version__} has no kernels for {card.get_device_name(device)} of "
            f"compute capability {made.major}.{made.minor}; install the torch build for this card (pytorch.org), "
            "or give cpu"
        ) from error


@cache
def _compile_fault(device: torch.device) -> str:
    """Compile a tiny function on the device; why that failed, in one line, or nothing."""
    try:
        torch.compile(_tiny, fullgraph=True)(torch.ones(8, device=device))
    except (RuntimeError, OSError, ImportError, subprocess.SubprocessError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return (
            f"compiling a tiny function failed ({said[0][:LONGEST_REASON]}): it needs a C compiler and Python.h "
            "(python3-dev)"
        )
    return ""


def _tiny(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.sin() + 1


def _pick_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    tells = None if device.type == "cpu" else getattr(torch.get_device_module(device), "is_bf16_supported", None)
    has_bfloat16 = tells is None or tells(including_emulation=False)
    if wanted == "bfloat16" and not has_bfloat16:
        raise ValueError(f"precision = 'bfloat16': {device} has no bfloat16 arithmetic; give float32 or auto")
    if wanted in ("float32", "bfloat16"):
        return wanted, "as asked"
    if wanted != "auto":
        raise ValueError(f"precision = {wanted!r}; give auto, float32 or bfloat16")
    if tells is not None and has_bfloat16:
        return "bfloat16", "the card has it"
    return "float32", "the choice on this device"


def _process_memory() -> MemoryReport:
    if sys.platform == "win32":
        return _windows_memory()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    page = os.sysconf("SC_PAGE_SIZE")
    total = min(os.sysconf("SC_PHYS_PAGES") * page, container_limit() or sys.maxsize)
    statm = Path("/proc/self/statm")
    used = int(statm.read_text().split()[1]) * page if statm.exists() else peak
    return MemoryReport(used, max(peak, used), total)


def _windows_memory() -> MemoryReport:
    """The working set, from the Win32 call K32GetProcessMemoryInfo."""

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            *tuple(
                (name, ctypes.c_size_t)
                for name in (
                    "peak",
                    "used",
                    "peak_paged",
                    "paged",
                    "peak_nonpaged",
                    "nonpaged",
                    "pagefile",
                    "peak_pagefile",
                )
            ),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(counters), counters.cb)
    return MemoryReport(counters.used, counters.peak, None)
