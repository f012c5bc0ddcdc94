"""A training run in a process of its own, or in several, which kills itself where it is told to:
`RUN FIELDS [KIND NUMBER]`.

FIELDS is JSON, fields of the configuration. KIND is `start` (before the first step), `step` (after that step),
`validation` (after that epoch's) or `forward` (in that forward pass of training, counted over micro-batches). Of
several processes the first kills itself.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import torch

from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import FlowProcessor, create_processor
from energy_flow.data import PairData, PairSet, TextBank
from energy_flow.distributed import Ranks, joined_ranks
from energy_flow.training import EnergyTrainer

WORDS = [f"word {row}" for row in range(10)]


def config(**changes) -> EnergyConfig:
    sizes = {"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4, "sites": (2, 2), "energy_dim": 4}
    layers = {"carrier_hidden_size": 8, "carrier_num_layers": 2, "neuron_hidden_dim": 8, "neuron_output_dim": 8}
    training = {"batch_size": 8, "epochs": 3, "warmup_steps": 2, "learning_rate": 1e-2, "log_every": 2}
    widths = {"input_embedding_dim": 12, "output_embedding_dim": 8}
    return create_config("tiny", **sizes | layers | training | widths | changes)


def data() -> PairData:
    generator = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(50, 12, generator=generator), torch.randn(12, 8, generator=generator)
    parts = [PairSet(rows, rows @ weights) for rows in inputs.split((30, 10, 10))]
    named = [PairSet(part.inputs, part.targets, WORDS, WORDS) for part in parts[1:]]
    return PairData("toy", parts[0], *named, bank=TextBank(WORDS, named[0].targets[:]))


class Killer:
    """An observer that ends the process without a word."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.number = kind, number

    def count_passes_of(self, processor: FlowProcessor) -> None:
        passes, run = itertools.count(1), processor.run

        def counted(*arguments, **named):
            if processor.training:
                self._at("forward", next(passes))
            return run(*arguments, **named)

        processor.run = counted

    def start(self, total_steps: int) -> None:
        self._at("start", 0)

    def observe(self, records) -> None:
        for record in records:
            self._at("step", record["step"])

    def validate(self, record, examples) -> None:
        self._at("validation", record["epoch"])

    def close(self) -> None:
        pass

    def _at(self, kind: str, number: int) -> None:
        if (kind, number) == (self.kind, self.number):
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def main(run: str, fields: str, kind: str = "never", number: str = "0") -> None:
    with joined_ranks(torch.device("cpu")):
        goes_on = any(Path(run).glob("checkpoints/step-*"))
        torch.manual_seed(123 if goes_on else Ranks().rank)  # whoever goes on must find the generator as it was
        settings = config(**json.loads(fields))
        killer = Killer(kind, int(number))
        processor = create_processor(settings)
        if kind == "forward" and Ranks().first:
            killer.count_passes_of(processor)
        trainer = EnergyTrainer(processor, settings, Path(run), observers=[killer], resume_from="auto")
        trainer.fit(data())


def names_of_threads() -> list[str]:
    """Those of this process; none but on Linux."""
    found = []
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append((task / "comm").read_text().strip())
    return found


def require_that_no_thread_is_left() -> None:
    """Threads of the group that outlive it can abort the process when the interpreter stops."""
    gc.collect()
    for _ in range(100):  # a thread that was told to end takes a moment
        left = [name for name in names_of_threads() if "gloo" in name or "tcpstore" in name]
        if not left:
            return
        time.sleep(0.05)
    raise RuntimeError(f"threads of the process group are left: {left}")


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    torch.set_num_threads(1)
    main(*sys.argv[1:])
    require_that_no_thread_is_left()
