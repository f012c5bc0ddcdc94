"""One of several processes that train together; on the second, memory runs out and a number is not finite: `RUN`."""

from __future__ import annotations

import logging
import sys

import torch

from energy_flow.core import FlowProcessor, create_processor
from energy_flow.distributed import Ranks, joined_ranks
from energy_flow.training import EnergyTrainer

from .resume_worker import config, data


def limit_memory(processor: FlowProcessor, rows: int) -> None:
    """More rows than these do not fit."""
    run = processor.run

    def limited(embeddings, **options):
        if processor.training and len(embeddings) > rows:
            raise torch.OutOfMemoryError("no room: a single row" if rows == 0 else "no room")
        return run(embeddings, **options)

    processor.run = limited


def break_a_row(trainer: EnergyTrainer, step: int) -> None:
    """One number of this process's share is not finite in one step."""
    attempt, steps = trainer._step._accumulate, iter(range(1, 100))

    def broken(inputs, targets):
        if next(steps) == step:
            inputs = inputs.clone()
            inputs[-1] = torch.nan
        return attempt(inputs, targets)

    trainer._step._accumulate = broken


def main(run: str) -> None:
    with joined_ranks(torch.device("cpu")):
        settings = config(nonfinite="skip", log_every=1)
        trainer = EnergyTrainer(create_processor(settings), settings, run)
        if not Ranks().first:
            limit_memory(trainer.processor, 3)  # its share of a batch is 4 rows
            break_a_row(trainer, 7)  # the first step took three attempts
        trainer.fit(data())
        full = EnergyTrainer(create_processor(settings), settings)
        if not Ranks().first:
            limit_memory(full.processor, 0)
        try:
            full.fit(data())
        except torch.OutOfMemoryError as error:
            print(error)
        require_the_same()


def require_the_same() -> None:
    """Other rows, or another configuration, on the second process."""
    settings, rows, second = config(), data().train, Ranks().rank
    try:
        EnergyTrainer(create_processor(settings), settings).train(rows.inputs[second:], rows.targets[second:])
    except ValueError as error:
        print(error)
    other = settings.replace(seed=second)
    try:
        EnergyTrainer(create_processor(other), other)
    except ValueError as error:
        print(error)


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    torch.set_num_threads(1)
    main(*sys.argv[1:])
