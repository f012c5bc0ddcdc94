"""Do several processes compute what one does, and how much faster are they?

`tiny` on the shipped rows, the same global batches, one thread a process, in turns: one process, several, and the first
of these numbers with the optimizer sharded. Seconds a step are the trainer's own, without the first ten; the difference
is the largest relative one of any step's loss from that of one process in the same turn.

    python -m benchmarks.speed.many_processes [--processes 2 4] [--steps 50] [--repeats 3] [--device cuda]
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from typing import NamedTuple

import torch

from benchmarks.common import parser_for, publish, spread
from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairSet, load_shipped
from energy_flow.distributed import Ranks, joined_ranks
from energy_flow.training import EnergyTrainer
from energy_flow.training.run.observers import Example, Figures
from energy_flow.utils import DeviceManager

COLUMNS = ("processes", "seconds a step, median", "least", "most", "beside one process", "largest difference of a loss")
WARM_UP = 10  # steps


class Run(NamedTuple):
    """How a model is trained."""

    processes: int
    sharded: bool
    steps: int
    device: str


class Curve:
    """Keeps loss and seconds of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records: Sequence[Figures]) -> None:
        self.losses += [record["loss"] for record in records]
        self.seconds += [record["step_seconds"] for record in records]

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        pass

    def close(self) -> None:
        pass


def work(rank: int, port: int, run: Run, found: SimpleQueue) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": run.processes, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
    config = create_tiny_config(log_every=1, shard_optimizer=run.sharded)
    rows = load_shipped().train.batch(torch.arange(run.steps * config.batch_size))
    pairs, curve = PairSet(*rows), Curve()
    devices = DeviceManager(run.device, config.precision)
    with joined_ranks(devices.device):
        EnergyTrainer(create_processor(config), config, devices=devices, observers=[curve]).train(
            pairs.inputs[:], pairs.targets[:], 1
        )
        if Ranks().first:
            found.put((curve.losses, statistics.mean(curve.seconds[WARM_UP:])))


def train(run: Run) -> tuple[list[float], float]:
    """Losses, and seconds a step."""
    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = context.SimpleQueue()
    processes = [context.Process(target=work, args=(rank, port, run, found)) for rank in range(run.processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"{run}: a process ended with an error")
    return found.get()


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    counts = [1, *arguments.processes]
    named = {str(count): (count, False) for count in counts} | {f"{counts[1]}, optimizer sharded": (counts[1], True)}
    seconds: dict[str, list[float]] = {name: [] for name in named}
    ratios: dict[str, list[float]] = {name: [] for name in named}
    differences = dict.fromkeys(named, 0.0)
    for _ in range(arguments.repeats):
        alone, second = train(Run(1, False, arguments.steps, arguments.device))
        for name, (processes, sharded) in named.items():
            run = Run(processes, sharded, arguments.steps, arguments.device)
            losses, taken = (alone, second) if processes == 1 else train(run)
            seconds[name].append(taken)
            ratios[name].append(taken / second)
            apart = max(abs(mine - one) / abs(one) for mine, one in zip(losses, alone, strict=True))
            differences[name] = max(differences[name], apart)
    table = [
        [name, *spread(values).values(), f"{statistics.median(ratios[name]):.3f}", f"{differences[name]:.2e}"]
        for name, values in seconds.items()
    ]
    title = f"tiny on the shipped data, {arguments.steps} steps, {arguments.repeats} repeats, {arguments.device}"
    publish(arguments.results / "many_processes.json", title, COLUMNS, table)


if __name__ == "__main__":
    main()
