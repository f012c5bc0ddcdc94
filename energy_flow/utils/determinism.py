"""The promise that the same seed gives the same bits, run after run on one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS keeps the promise, by NVIDIA's documentation
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """While it is entered, torch runs deterministic algorithms alone, and an operation that has none is an error.

    Raises:
        ValueError: the promise cannot be kept on this device.
    """
    if device.type == "cuda" and os.environ.get(VARIABLE) not in WORKSPACES:
        raise ValueError(
            f"deterministic = True: on CUDA set {VARIABLE}={WORKSPACES[0]} in the environment before the start, "
            f"it is {os.environ.get(VARIABLE)!r}"
        )
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"deterministic = True: {device} makes no such promise; train on cpu or cuda")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tuned = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = tuned
