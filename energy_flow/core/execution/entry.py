"""What enters a run: rows from anybody, and the transforms of torch that a run can or cannot go through."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C import _functorch  # type: ignore[attr-defined]
from torch.autograd import forward_ad

from ...config import EnergyConfig

NO_VMAP = (
    "torch.vmap cannot run a lattice: how many flows live differs from sample to sample; give all samples as the rows "
    "of one matrix, which runs them together, and run models of an ensemble one after the other"
)


def as_rows(embeddings: Any, config: EnergyConfig, weight: Tensor) -> Tensor:
    """Embeddings in the dtype and on the device of the model, with their gradient where they have one.

    Args:
        embeddings: (B, width), or (B, S, width / S) site by site; a tensor or an array.
        config: of the model, whose width and sites they must have.
        weight: of the model.

    Raises:
        ValueError: another shape, no row, or numbers that are not floating.
    """
    rows = embeddings if isinstance(embeddings, Tensor) else torch.as_tensor(_native(embeddings))
    width, sites, shape = config.input_embedding_dim, config.num_sites, tuple(rows.shape)
    rows = rows.flatten(1) if rows.dim() == 3 and shape[1] == sites else rows
    if rows.dim() != 2 or rows.shape[1] != width or rows.shape[0] == 0:
        by_site = "" if len(shape) != 3 or width % sites else f", or (rows, {sites}, {width // sites}) site by site,"
        raise ValueError(
            f"embeddings has shape {shape}; the model expects (rows, {width}){by_site} with at least one row"
        )
    if not rows.is_floating_point():
        raise ValueError(f"embeddings has dtype {rows.dtype}; convert them with .float()")
    return rows.to(weight.device, weight.dtype)


def _native(array: Any) -> Any:
    """An array that torch takes as it is: of this machine's byte order, forwards, and free to be written."""
    if not isinstance(array, np.ndarray):
        return array
    native = array.dtype.newbyteorder("=")
    fits = array.flags.writeable and array.dtype == native and all(stride >= 0 for stride in array.strides)
    return array if fits else array.astype(native, copy=True)


def refuse_transforms(embeddings: Any) -> None:
    """Refuse the transforms that cannot follow flows which come and go.

    Raises:
        NotImplementedError: within `torch.vmap` over the embeddings, or `torch.jit.trace`.
    """
    if isinstance(embeddings, Tensor) and _is_batched(embeddings):
        raise NotImplementedError(NO_VMAP)
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        raise NotImplementedError(
            "torch.jit.trace would freeze the flows of its example; use torch.export, which takes the static form"
        )


def transforms_active() -> bool:
    """Whether a transform of torch.func, or forward-mode differentiation, looks on: it needs torch's own operations."""
    return _functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def _is_batched(tensor: Tensor) -> bool:
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            return True
        tensor = _functorch.get_unwrapped(tensor)
    return False


def numbers_of(counts: Tensor) -> list[int]:
    """(n,) int64 as plain numbers. This is the one place in a step that waits for the device."""
    if _is_batched(counts):
        raise NotImplementedError(NO_VMAP)
    while _functorch.is_functorch_wrapped_tensor(counts):
        counts = _functorch.get_unwrapped(counts)
    return counts.tolist()
