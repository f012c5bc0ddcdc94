"""The blocks of code of a page, as a reader meets them.

A comment before a block says why it is not run: `<!-- not run: it needs a card -->`. What is not ours (pip, torchrun)
is not run either.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^>]+?) -->\n+)?```(?P<kind>python|bash)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    kind: str
    code: str

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of its lines that call `energy-flow`."""
        lines = self.code.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines] if self.kind == "bash" else []
        return [line[1:] for line in words if line[:1] == ["energy-flow"]]


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page that are run, in their order; `page` is its path from the root of the project."""
    found = BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))
    return [Block(one["kind"], one["code"]) for one in found if one["why"] is None]


def pages() -> list[str]:
    """README and the pages of docs that have a block to run."""
    every = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
    return [page for page in every if any(one.kind == "python" or one.commands for one in blocks_of(page))]
