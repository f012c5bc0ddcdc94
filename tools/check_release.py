"""Build wheel and sdist, check what they hold, and on request use the wheel from an empty environment.

    python tools/check_release.py                        # build and check, half a minute (extra release)
    python tools/check_release.py --install              # also: empty environment outside the clone, main jobs from it
    python tools/check_release.py --install --torch torch==2.11.0 --python python3.13

The wheel and the sdist stay in `dist`. Where pip needs an index for torch's CPU build, say so in PIP_EXTRA_INDEX_URL.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST_WHEEL = 20_000_000  # bytes
IN_WHEEL = (
    "energy_flow/data/shipped/vectors.safetensors",
    "energy_flow/data/shipped/definitions.txt",
    "energy_flow/data/shipped/words.txt",
    "energy_flow/viz/static/viewer.js",
    "energy_flow/viz/static/viewer.css",
    "energy_flow/models/maze/model.safetensors",
    "energy_flow/models/delivery/model.safetensors",
    "energy_flow/models/words/model.safetensors",
)
IN_SDIST = (
    "LICENSE",
    "NOTICE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "tests/reference.py",
    "viewer/build.mjs",
)
JOBS = (  # what README shows first, made short
    ("--version",),
    ("list",),
    ("load", "maze", "--output", "copy"),
    ("evaluate", "copy", "--data", "maze", "--box", "13x13x158", "--rows", "8"),
    ("train-linear", "linear.safetensors"),
    ("predict", "linear.safetensors", "--examples", "3"),
    ("train", "--preset", "tiny", "--time-limit-minutes", "0.2", "--run", "run"),
    ("train", "--preset", "tiny", "--time-limit-minutes", "0.1", "--run", "run", "--resume", "auto"),
)
STOPPED = 75  # exit code of a run that its time limit stopped, saved


def build(out: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it; those of before are removed."""
    for old in out.glob("energy_flow-*"):
        old.unlink()
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)])
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def check_contents(wheel: Path, sdist: Path) -> None:
    """Names and sizes.

    Raises:
        ValueError: something is missing, too much, or too large.
    """
    with zipfile.ZipFile(wheel) as file:
        in_wheel = set(file.namelist())
    with tarfile.open(sdist) as file:
        in_sdist = {name.partition("/")[2] for name in file.getnames()}
    files = (path for path in (ROOT / "energy_flow").rglob("*") if path.is_file() and path.suffix != ".pyc")
    wanted = {path.relative_to(ROOT).as_posix() for path in files} | set(IN_WHEEL)
    if missing := sorted(wanted - in_wheel):
        raise ValueError(f"{wheel.name} lacks {', '.join(missing)}")
    if missing := sorted({*IN_SDIST, *wanted} - in_sdist):
        raise ValueError(f"{sdist.name} lacks {', '.join(missing)}")
    if other := sorted(name for name in in_wheel if not name.startswith(("energy_flow/", "energy_flow-"))):
        raise ValueError(f"{wheel.name} has more than the package: {', '.join(other)}")
    if wheel.stat().st_size > LARGEST_WHEEL:
        raise ValueError(f"{wheel.name} has {wheel.stat().st_size:,} bytes, more than {LARGEST_WHEEL:,}")


def check_same_wheel(wheel: Path) -> None:
    """The wheel of the sdist is that of the tree, byte by byte in every file.

    Raises:
        ValueError: they differ.
    """
    with tempfile.TemporaryDirectory() as name:
        run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", name, str(ROOT)])
        of_tree = sums(next(Path(name).glob("*.whl")))
    of_sdist = sums(wheel)
    if different := sorted(name for name in of_tree | of_sdist if of_tree.get(name) != of_sdist.get(name)):
        raise ValueError(f"the sdist builds another wheel than the tree: {', '.join(different)}")


def sums(wheel: Path) -> dict[str, int]:
    """The checksum of every file in a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {entry.filename: entry.CRC for entry in file.infolist()}


def use_from_empty_environment(wheel: Path, torch: str, python: str) -> None:
    """Install the wheel with the command line, in a new environment with a new home, and run the main jobs."""
    with tempfile.TemporaryDirectory(prefix="energy-flow-release-") as name:
        place = Path(name)
        run([python, "-m", "venv", str(place / "venv")])
        programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        clean |= {"HOME": name, "USERPROFILE": name}
        pip = [str(programs / "python"), "-m", "pip"]
        run([*pip, "install", "--quiet", torch, f"energy-flow[cli] @ {wheel.as_uri()}"], place, clean)
        run([*pip, "check"], place, clean)
        for job in JOBS:
            run([str(programs / "energy-flow"), *job], place, clean, also=STOPPED if job[0] == "train" else 0)


def run(
    command: Sequence[str], folder: Path | None = None, environment: dict[str, str] | None = None, also: int = 0
) -> None:
    """Run one command; it must end with 0, or with the code `also`.

    Raises:
        ValueError: it did not.
    """
    print("+", *command, flush=True)
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code not in (0, also):
        raise ValueError(f"exit code {code} of {' '.join(command)}")


def main() -> None:
    """Build, check, and use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheel and the sdist")
    parser.add_argument("--install", action="store_true", help="install the wheel in an empty environment and use it")
    parser.add_argument("--torch", default="torch==2.13.0", help="which torch to install")
    parser.add_argument("--python", default=sys.executable, help="which Python makes the environment")
    arguments = parser.parse_args()
    try:
        wheel, sdist = build(arguments.out)
        run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)])
        run([sys.executable, "-m", "check_wheel_contents", str(wheel)])
        check_contents(wheel, sdist)
        check_same_wheel(wheel)
        if arguments.install:
            use_from_empty_environment(wheel.resolve(), arguments.torch, arguments.python)
    except ValueError as error:
        sys.exit(f"check_release: error: {error}")
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {sdist.name}: {sdist.stat().st_size:,} bytes; all is well")


if __name__ == "__main__":
    main()
