"""Picks the device and the precision, says why, and reports memory."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch

from .logging import logger


class MemoryReport(NamedTuple):
    """Memory in bytes: of the accelerator, or of the process on a CPU."""

    used: int
    peak: int
    total: int | None  # None where it is not known


NEARLY_FULL = 0.92  # share of the device's memory from which on it is said aloud


class DeviceManager:
    """The device and the precision of a run.

    Args:
        device: `auto`, or a device that torch knows, such as `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto`, `float32` or `bfloat16`; auto is bfloat16 on a CUDA card that has it, else float32.

    Raises:
        ValueError: no such device here, or a precision that the device does not have.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self.device, device_reason = _pick_device(device)
        self.precision, precision_reason = _pick_precision(precision, self.device)
        self.reason = f"{self.device} ({device_reason}), {self.precision} ({precision_reason})"
        self._warned = False

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which a forward pass has this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")  # type: ignore[return-value]

    def compiler_missing(self) -> str:
        """What torch.compile would need here and does not find; empty where nothing is missing."""
        if self.device.type == "cuda":
            return "" if importlib.util.find_spec("triton") else "Triton is not installed"
        if self.device.type == "cpu":
            found = any(map(shutil.which, ("g++", "clang++", "cl"))) or os.environ.get("CXX")
            return "" if found else "no C++ compiler was found"
        return f"{self.device} is not supported"

    def watch_memory(self) -> MemoryReport:
        """Memory as `memory` gives it; the first time that it is nearly full, a warning says so."""
        report = self.memory()
        if report.total and report.used > NEARLY_FULL * report.total and not self._warned:
            self._warned = True
            used, total = report.used / 2**30, report.total / 2**30
            logger.warning(
                "memory of %s is nearly full: %.1f of %.1f GiB; lower batch_size, or raise accumulation",
                self.device,
                used,
                total,
            )
        return report

    def utilization(self) -> float | None:
        """Percent of the last moment (up to a second) in which the card was busy; None where nothing tells it.

        Read from NVIDIA's management library, for which `nvidia-ml-py` must be there (extra `cli`).
        """
        if self.device.type != "cuda" or importlib.util.find_spec("pynvml") is None:
            return None
        try:
            return float(torch.cuda.utilization(self.device))
        except RuntimeError:  # a card, or a driver, that does not tell
            return None

    def memory(self) -> MemoryReport:
        """Memory in use now, its peak, and what the device has."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return MemoryReport(total - free, torch.cuda.max_memory_allocated(self.device), total)
        if self.device.type == "mps":
            used = torch.mps.driver_allocated_memory()
            return MemoryReport(used, used, torch.mps.recommended_max_memory())
        return _process_memory()


def _pick_device(wanted: str) -> tuple[torch.device, str]:
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        card = _own_card()
        return torch.device("cuda", card), torch.cuda.get_device_name(card)
    if wanted == "auto":
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Apple GPU"
        return torch.device("cpu"), "no accelerator found"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device = {wanted!r}: {reason}; give auto, cpu, or a device that this machine has") from error
    if device.type == "meta":
        raise ValueError("device = 'meta' holds no data; give auto, cpu, or a device that this machine has")
    return device, "as asked"


def _own_card() -> int:
    """The card of this process: by its number on this machine where `torchrun` started it, else the current one."""
    number, cards = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    if number is None:
        return torch.cuda.current_device()
    if int(number) >= cards:
        raise ValueError(
            f"device = 'cuda': process {number} of this machine has no card of its own, there are {cards}; "
            f"start at most {cards} with --nproc-per-node, or train with --device cpu"
        )
    return int(number)


def _pick_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bfloat16" and not has_bfloat16:
        raise ValueError(f"precision = 'bfloat16': {device} has no bfloat16 arithmetic; give float32 or auto")
    if wanted in ("float32", "bfloat16"):
        return wanted, "as asked"
    if wanted != "auto":
        raise ValueError(f"precision = {wanted!r}; give auto, float32 or bfloat16")
    if device.type == "cuda" and has_bfloat16:
        return "bfloat16", "the card has it"
    return "float32", "the choice on this device"


def _process_memory() -> MemoryReport:
    if sys.platform == "win32":
        return _windows_memory()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
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
