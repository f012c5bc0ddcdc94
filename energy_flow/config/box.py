"""The size of a lattice, apart from everything else that a configuration says."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """Cells along x, y and z; written `33x33x400`."""

    width: int
    height: int
    depth: int

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read `WIDTHxHEIGHTxDEPTH`.

        Raises:
            ValueError: not three whole numbers above 0.
        """
        parts = text.lower().replace("×", "x").split("x")
        if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
            raise ValueError(f"box = {text!r}; give width, height and depth in cells, such as 33x33x400")
        return cls(*(int(part) for part in parts))

    def __str__(self) -> str:
        return "x".join(map(str, self))
