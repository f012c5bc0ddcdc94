"""Rows that a user gives, as embeddings: converted, or refused before any work is spent on them.

Shapes: `N` rows.
"""

from __future__ import annotations

import numpy as np
import torch

from .stored_rows import Rows, chunks, host_rows


def check_width(name: str, rows: Rows, width: int) -> None:
    """Refuse rows of another width than the model's, with a ValueError."""
    if rows.shape[1] != width:
        raise ValueError(
            f"{name} has width {rows.shape[1]}, the model expects {width}; use data or a model of one width"
        )


def embeddings_of(name: str, rows: Rows | np.ndarray, width: int | None = None) -> Rows:
    """Rows as detached float32 on the CPU, checked; this is where what a user has enters.

    Args:
        name: what the caller calls these rows; it leads the message.
        rows: (N, width) floating, on any device or a NumPy array, or rows of a file.
        width: the width that the model expects, where there is one.

    Raises:
        ValueError: as `check_embeddings`, or a number that is too large for float32.
    """
    _check_shape(name, rows)
    found = host_rows(name, rows)
    check_embeddings(name, found, width)
    return found


def check_embeddings(name: str, rows: Rows, width: int | None = None) -> None:
    """Refuse what cannot be a set of embeddings, before any work is spent on it.

    Args:
        name: what the caller calls these rows; it leads the message.
        rows: (N, width), floating.
        width: the width that the model expects, where there is one.

    Raises:
        ValueError: not two-dimensional, empty, not floating, of another width, or with a non-finite row.
    """
    _check_shape(name, rows)
    if not rows.dtype.is_floating_point:
        raise ValueError(f"{name} has dtype {rows.dtype}; embeddings are floating: convert them with .float()")
    if width is not None:
        check_width(name, rows, width)
    bad = torch.cat([~torch.isfinite(chunk).all(dim=1) for chunk in chunks(rows)]).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"{name} has {len(bad)} rows with NaN or infinite numbers, first row {int(bad[0])}; remove them "
            "(numbers beyond 3.4e38 are infinite in float32)"
        )


def _check_shape(name: str, rows: Rows | np.ndarray) -> None:
    shape = getattr(rows, "shape", None)
    if shape is None:
        raise ValueError(
            f"{name} is a {type(rows).__name__}; give a torch tensor or a NumPy array of shape (rows, width)"
        )
    if isinstance(rows, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array; leave the masked rows out, and give its .data")
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {tuple(shape)}; give a matrix of shape (rows, width)")
    if 0 in shape:
        raise ValueError(f"{name} has shape {tuple(shape)} and so holds nothing; give at least one row")
