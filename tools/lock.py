"""Write requirements-dev.lock: the versions of everything that a contributor installs, for all systems and Pythons.

    python tools/lock.py            # extra dev

Torch and what it alone brings for CUDA are left out: which build of it is right depends on the machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"
COMMAND = ("uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal", "--python-version", "3.11")
QUIET = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--upgrade")
OF_TORCH = re.compile(r"(torch|triton|cuda-[\w-]+|nvidia-(?!ml-py)[\w-]+)==")
PIN = re.compile(r"[A-Za-z0-9._-]+==[\w.!]+( ; [^#@]+)?")
HEADER = """\
# Versions that go together. Made by: python tools/lock.py
# Install torch for your machine first, then: pip install -r requirements-dev.lock && pip install --no-deps -e .
"""


def pins(compiled: str) -> list[str]:
    """The lines of the lock in what uv says.

    Raises:
        ValueError: a line is no plain pin, such as a path of this machine.
    """
    lines = [line for line in compiled.splitlines() if line and line[0] != "#" and not OF_TORCH.match(line)]
    if odd := [line for line in lines if not PIN.fullmatch(line)]:
        raise ValueError(f"these are no pins of versions: {'; '.join(odd)}")
    return lines


def main() -> None:
    """Compile and write."""
    ran = subprocess.run(
        [sys.executable, "-m", *COMMAND, *QUIET], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(f"lock: error: {ran.stderr}")
    LOCK.write_text(HEADER + "\n".join(pins(ran.stdout)) + "\n", encoding="utf-8", newline="\n")
    print(f"wrote {LOCK.name}")


if __name__ == "__main__":
    main()
