"""Every benchmark of speed and memory, one after the other, on one device: the figures of docs/speed.md in one call.

    python benchmarks/all_speed.py [--device cuda] [--results FOLDER]

On a GPU the presets run at their own batches within 32 GiB, on a CPU at batch 1. A benchmark that fails is named at the
end, and the others run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from common import RESULTS

HERE = Path(__file__).parent
ON_ANY = ["scaling.py", "sorted_rows.py", "throughput.py", "straightforward.py", "step_parts.py"]
ON_CUDA = [
    "step_floor.py --precision bfloat16 float32 --rows 8192 --hidden 256 1024",
    "preset_step.py --memory-limit-gib 32 --checkpointing auto on",
    "preset_step.py --presets debug --compile graphs --results {results}/graphs",
    "preset_step.py --compile off --results {results}/eager",
]
ON_CPU = [
    "step_floor.py --precision float32 bfloat16",
    "preset_step.py --batch 1 --precision bfloat16 --checkpointing on off",
    "activation_memory.py --initial-steps 4 8",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    failed = []
    for line in [*ON_ANY, *(ON_CUDA if arguments.device == "cuda" else ON_CPU)]:
        script, *options = line.format(results=arguments.results).split()
        options += [] if "--results" in options else ["--results", str(arguments.results)]
        options += [] if script == "activation_memory.py" else ["--device", arguments.device]
        print(f"== {script} {' '.join(options)}", flush=True)
        ran = subprocess.run([sys.executable, str(HERE / script), *options], check=False)
        failed += [line] if ran.returncode else []
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
