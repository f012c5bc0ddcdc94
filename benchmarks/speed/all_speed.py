"""Every benchmark of speed and memory, one after the other, on one device: the figures of docs/speed.md in one call.

    python -m benchmarks.speed.all_speed [--device cuda] [--results FOLDER]

On a GPU the presets run at their own batches within 32 GiB, on a CPU at batch 1. A benchmark that fails is named at the
end, and the others run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.common import RESULTS

ON_ANY = ["scaling", "sorted_rows", "throughput", "straightforward", "step_parts"]
ON_CUDA = [
    "step_floor --precision bfloat16 float32 --rows 8192 --hidden 256 1024",
    "preset_step --memory-limit-gib 32 --checkpointing auto on",
    "preset_step --presets debug --compile graphs --results {results}/graphs",
    "preset_step --compile off --results {results}/eager",
]
ON_CPU = [
    "step_floor --precision float32 bfloat16",
    "preset_step --batch 1 --precision bfloat16 --checkpointing on off",
    "activation_memory --initial-steps 4 8",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    failed = []
    for line in [*ON_ANY, *(ON_CUDA if arguments.device == "cuda" else ON_CPU)]:
        name, *options = line.format(results=arguments.results).split()
        options += [] if "--results" in options else ["--results", str(arguments.results)]
        options += [] if name == "activation_memory" else ["--device", arguments.device]
        print(f"== {name} {' '.join(options)}", flush=True)
        ran = subprocess.run([sys.executable, "-m", f"benchmarks.speed.{name}", *options], check=False)
        failed += [line] if ran.returncode else []
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
