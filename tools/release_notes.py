"""Print the notes of a release: its section of CHANGELOG.md.

python tools/release_notes.py 0.1.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(version: str, changelog: str, released: bool = True) -> str:
    """The lines below the heading of a version.

    Raises:
        ValueError: there is no such heading, it is still marked unreleased, or nothing stands below it.
    """
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.split()[:1] != [version]:
            continue
        if released and "unreleased" in heading:
            raise ValueError(f"CHANGELOG.md: {heading!r} says unreleased; write the date in its place")
        if not text.strip():
            raise ValueError(f"CHANGELOG.md: nothing stands below {version}")
        return text.strip() + "\n"
    raise ValueError(f"CHANGELOG.md: no heading '## {version}'")


def main() -> None:
    """Print the notes of the version on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/release_notes.py VERSION")
    try:
        print(notes(sys.argv[1].removeprefix("v"), CHANGELOG.read_text(encoding="utf-8")), end="")
    except ValueError as error:
        sys.exit(f"release_notes: error: {error}")


if __name__ == "__main__":
    main()
