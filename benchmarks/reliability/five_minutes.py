"""How long does a stranger wait for a solved maze, a decoded text, and the page on which the flows play?

In a folder of its own with a new home, an empty environment and no cache: `pip install` of this clone with the extras
that the three need, then the commands. Of the settings of this machine only those stay that say where pip finds
packages. Where pip would take torch's CUDA build and you want the other, set PIP_EXTRA_INDEX_URL.

    python -m benchmarks.reliability.five_minutes [--repeats 2]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import RESULTS, parser_for, publish, spread

ROOT = RESULTS.parent.parent
KEPT = ("PATH", "LANG", "TERM", "SYSTEMROOT", "TEMP", "TMP", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
COLUMNS = ("step", "seconds, median", "least", "most", "what it is judged by")
TEXT, WORD = "a piece of furniture to sit on", "chair"
LEAST_PAGE = 100_000  # bytes


class Stranger:
    """Somebody with Python, this clone, and an empty folder.

    Args:
        place: the folder.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.seconds = place, {}
        self.programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        kept = {name: value for name, value in os.environ.items() if name.upper() in KEPT or name.startswith("PIP_")}
        self.environment = kept | {"HOME": str(place), "USERPROFILE": str(place), "COLUMNS": "100"}

    def run(self, step: str, *command: str | Path) -> str:
        """Run a command, add its seconds to the step, and give what it printed."""
        print("+", *command, flush=True)
        start = time.perf_counter()
        ran = subprocess.run(
            list(map(str, command)),
            cwd=self.place,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start
        if ran.returncode:
            raise SystemExit(f"{step}: exit code {ran.returncode}\n{ran.stdout}")
        return ran.stdout

    def energy_flow(self, step: str, *arguments: str) -> str:
        """Run a command of the package."""
        return self.run(step, self.programs / "energy-flow", *arguments)


def live(stranger: Stranger) -> dict[str, str]:
    """The five minutes; what each step is judged by."""
    seen = {}
    stranger.run("environment", sys.executable, "-m", "venv", "venv")
    seen["environment"] = "python -m venv"
    python = stranger.programs / "python"
    stranger.run("install", python, "-m", "pip", "install", "--no-cache-dir", "torch==2.13.0", f"{ROOT}[cli,text]")
    seen["install"] = "pip install --no-cache-dir torch==2.13.0 energy-flow[cli,text]"
    solved = stranger.energy_flow("maze", "evaluate", "maze", "--box", "13x13x158", "--rows", "8")
    require("S" in solved and "G" in solved and "└" in solved, "maze", solved)
    seen["maze"] = "evaluate maze --box 13x13x158: 8 mazes, one drawn with its way"
    seen["text"] = decode(stranger)
    stranger.energy_flow("page", "trace", "maze", "--samples", "0", "--output", "flows.parquet", "--page", "flows.html")
    page = (stranger.place / "flows.html").read_text(encoding="utf-8")
    require(len(page) > LEAST_PAGE and "<script" in page, "page", page[:200])
    seen["page"] = f"trace maze --page: {len(page) / 1e6:.1f} MB of HTML"
    return seen


def decode(stranger: Stranger) -> str:
    """A text in, the nearest words out."""
    words = stranger.energy_flow("text", "predict", "words", TEXT)
    require(WORD in words, "text", words)
    return f"predict words '{TEXT}': {WORD} is among the nearest"


def require(holds: bool, step: str, said: str) -> None:
    """End the benchmark where a step did not give what it should."""
    if not holds:
        raise SystemExit(f"{step}: it gave something else:\n{said}")


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    seen: dict[str, str] = {}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory(prefix="energy-flow-stranger-") as name:
            stranger = Stranger(Path(name))
            seen = live(stranger)
        for step, taken in (stranger.seconds | {"all": sum(stranger.seconds.values())}).items():
            seconds.setdefault(step, []).append(taken)
    table = [[step, *spread(taken).values(), seen.get(step, "")] for step, taken in seconds.items()]
    title = f"a stranger's five minutes, {arguments.repeats} times; nothing cached"
    source = "partly a folder of this machine, torch's CPU build too" if "PIP_FIND_LINKS" in os.environ else "the index"
    publish(arguments.results / "five_minutes.json", title, COLUMNS, table, packages_from=source)


if __name__ == "__main__":
    main()
