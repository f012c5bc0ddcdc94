"""An input of a run, and what belongs to it.

Shapes: `E` input width, `T` target width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..data.pairs import Size


class Given(NamedTuple):
    """An input row and what belongs to it."""

    row: Tensor  # (1, E)
    name: str
    face: Size | None = None
    target: Tensor | None = None  # (T,), where it is known
    target_text: str | None = None
