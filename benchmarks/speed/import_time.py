"""How long does one wait for the package: to import it, to use its names, for the help?

Each in a fresh process, in turns, with the files read once before. Torch alone is what nothing here can shorten.

    python -m benchmarks.speed.import_time [--repeats 7]
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.common import parser_for, publish, spread

COLUMNS = ("what", "seconds, median", "least", "most")
WAITS = {
    "python -c pass": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "import energy_flow": ("-c", "import energy_flow"),
    "all names of energy_flow, with torch": ("-c", "from energy_flow import *"),
    "energy-flow --help": ("-m", "energy_flow", "--help"),
    "energy-flow train --help": ("-m", "energy_flow", "train", "--help"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Of one fresh process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAITS}
    for turn in range(arguments.repeats + 1):
        for name, command in WAITS.items():
            found = seconds(command)
            if turn:  # the first reads the files from the disk
                taken[name].append(found)
    table = [[name, *spread(values).values()] for name, values in taken.items()]
    publish(
        arguments.results / "import_time.json", f"seconds of fresh processes, {arguments.repeats} each", COLUMNS, table
    )


if __name__ == "__main__":
    main()
