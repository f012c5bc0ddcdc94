"""Is a training step faster than that of another checkout of this project, such as the commit before?

    git worktree add ../before COMMIT
    python -m benchmarks.speed.side_by_side --against ../before [--cases small 64 128 256 1024]
        [--threads 1 2] [--repeats 3]

`small` is a lattice that people study on a laptop: 25 sites, 16 steps, one layer of 64, no children, batch 64. A number
is the hidden size of `debug`'s lattice (three layers, children as configured) with 2 048 rows at launch. `tiny` is the
preset at batch 128. Each checkout runs in a process of its own, and the two take turns; a ratio is that of the medians
of one turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

STEPS = {"1024": 2, "256": 5}  # timed in a turn, after one that warms up; 15 where no number stands
COLUMNS = ("case", "threads", "here ms, median", "least", "most", "there ms, median", "least", "most", "there / here")


def configured(case: str) -> tuple[Any, int]:
    """The configuration, in fields that every version knows, and its batch."""
    from energy_flow.config import create_config

    if case == "tiny":
        return create_config("tiny"), 128
    if case != "small":
        return create_config("debug", carrier_hidden_size=int(case)), 32
    fields = {
        "lattice_width": 5, "lattice_height": 5, "lattice_depth": 17, "sites": (5, 5), "initial_steps": 16,
        "input_embedding_dim": 150, "output_embedding_dim": 150, "energy_dim": 16, "max_active_flows": 25,
        "max_children": 0, "max_spawn_per_step": 0, "carrier_hidden_size": 64, "carrier_num_layers": 1,
        "neuron_output_dim": 64,
    }  # fmt: skip
    return create_config("debug", **fields), 64


def time_steps(case: str, threads: int) -> list[float]:
    """Milliseconds of some training steps at a learning rate of 0."""
    from energy_flow.core import create_processor

    torch.set_num_threads(threads)
    config, batch = configured(case)
    model = create_processor(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(batch, config.input_embedding_dim, generator=generator))
    taken = []
    for _ in range(1 + STEPS.get(case, 15)):
        started = time.perf_counter()
        optimizer.zero_grad()
        model.run(rows).output.square().sum().backward()
        optimizer.step()
        taken.append(1e3 * (time.perf_counter() - started))
    return taken[1:]


def one_turn(checkout: Path, case: str, threads: int) -> float:
    """Median milliseconds of a step of one checkout, in a child.

    The child runs this file and not this module: started as a module it would import the package of the folder that it
    runs in, and the other checkout may not have this benchmark.
    """
    command = [sys.executable, __file__, "--worker", case, str(threads)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return statistics.median(json.loads(ran.stdout))


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(time_steps(sys.argv[2], int(sys.argv[3]))))
        return
    from benchmarks.common import parser_for, publish, spread

    parser = parser_for(__doc__)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of this project")
    parser.add_argument("--cases", nargs="+", default=["small", "tiny", "64", "128", "256", "1024"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    here, table = Path(__file__).resolve().parents[2], []
    for case in arguments.cases:
        for threads in arguments.threads:
            turns = [
                (one_turn(here, case, threads), one_turn(arguments.against.resolve(), case, threads))
                for _ in range(arguments.repeats)
            ]
            mine, theirs = zip(*turns, strict=True)
            ratio = statistics.median(other / mine_ms for mine_ms, other in turns)
            table.append([case, threads, *spread(mine).values(), *spread(theirs).values(), ratio])
    publish(arguments.results / "side_by_side.json", "a training step beside another checkout's", COLUMNS, table)


if __name__ == "__main__":
    main()
