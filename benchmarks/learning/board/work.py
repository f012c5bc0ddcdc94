"""One job: draw the rows, train, judge. It runs in a process of its own.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.common import commit, fingerprint, machine
from benchmarks.learning.board.contests import CONTESTS, Contest, Trial
from benchmarks.learning.board.judging import losses_of
from benchmarks.learning.board.plan import Effort, Job
from benchmarks.learning.board.systems import LATTICE, SYSTEMS, at_home, build
from benchmarks.learning.matching import count_parameters, forward_flops
from benchmarks.learning.rivals import WindowRidge, procrustes, ridge
from benchmarks.learning.training import course_of, predict, train, validation_loss
from energy_flow.config import Box, EnergyConfig
from energy_flow.core import create_processor
from energy_flow.data import TASKS, PairData, PairSet, TextBank, load_data, make_split
from energy_flow.data.pairs import Pairs, Size, one_size, pairs_of, parts_of
from energy_flow.data.sources import data_settings
from energy_flow.training import EnergyTrainer, Judge
from energy_flow.training.batches import batch_count, box_of

FEWEST_ROWS, LOOKED_AT = 8, 8  # of a trial, and of a size in the look that `fit` takes
DIGITS = 7  # of what is lost in a row, on disk


class Arena(NamedTuple):
    """The rows of a contest, the same for all systems and seeds."""

    train: Pairs
    validation: Pairs
    trials: dict[str, tuple[Trial, PairSet]]
    bank: TextBank | None
    config: EnergyConfig  # of the lattice, with its own rate and seed


class Clock:
    """Seconds since it was made: on the wall, and of the processor, which a busy machine does not stretch."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both, by their names in a finished run."""
        now = time.perf_counter(), time.process_time()
        wall, processor = (round(end - start, 2) for end, start in zip(now, self._started, strict=True))
        return {"seconds": wall, "processor_seconds": processor}


class Trained(NamedTuple):
    """A system that is ready to be judged."""

    answer: Callable[[Tensor, Size | None, int | None], Tensor]  # rows (N, E), their face, steps to (N, T)
    parameters: int
    flops: float  # of a row at the lattice's own face
    seconds: dict[str, float]  # of training, as `Clock` reads them


@lru_cache(maxsize=1)
def arena_of(name: str, source: str, rows_part: float) -> Arena:
    """Draw or load the rows of a contest.

    Args:
        name: a key of `CONTESTS`.
        source: of a set of texts.
        rows_part: of the rows that are judged.
    """
    contest = CONTESTS[name]
    if contest.task is None:
        data = load_data(source)
        config = EnergyConfig.from_dict({**contest.recipe, **data_settings(data)})
        train_pairs, validation, test = (one_size(name, part) for part in (data.train, data.validation, data.test))
        (trial,) = contest.trials
        kept = torch.arange(max(FEWEST_ROWS, int(rows_part * len(test))))
        return Arena(train_pairs, validation, {trial.name: (trial, test.subset(kept))}, data.bank, config)

    def draw(split: str, rows: int, faces: tuple[Size, ...]) -> Pairs:
        assert contest.task is not None
        return make_split(contest.task, split, rows, faces=faces or None, options=contest.options)

    rows = contest.rows or contest.steps * contest.recipe["batch_size"]
    train_pairs = draw("train", rows, contest.train_faces)
    validation = draw("validation", _fewer(contest.validation_rows, rows_part), contest.train_faces)
    trials = {
        trial.name: (
            trial,
            one_size(trial.name, draw(trial.split, _fewer(trial.rows, rows_part), (trial.face,) if trial.face else ())),
        )
        for trial in contest.trials
    }
    drawn = PairData(name, train_pairs, validation, validation, task=contest.task)
    config = EnergyConfig.from_dict({**contest.recipe, **data_settings(drawn)})
    return Arena(train_pairs, validation, trials, None, config)


def run(job: Job, flops: float | None, name: str, source: str, effort: Effort) -> dict[str, Any]:
    """Train a system and judge it; what comes back can be written as JSON.

    A training whose loss is not finite leaves no score, and no validation loss.

    Args:
        job: what to train.
        flops: the work of the trained lattice for a row, which some match; None is that of an untrained one.
        name: of the contest.
        source: of a set of texts.
        effort: how long, and on how many rows.
    """
    contest, arena = CONTESTS[name], arena_of(name, source, effort.rows_part)
    config = arena.config.replace(seed=job.seed)
    config = config.replace(learning_rate=job.rate) if job.rate else config
    part = effort.part * (1.0 if job.whole else effort.tuned_part)
    whole = Clock()
    try:
        trained = (
            solve(contest, arena, job) if SYSTEMS[job.system].solved else fit(contest, arena, job, config, part, flops)
        )
    except FloatingPointError as error:
        return {"failed": str(error), "validation_loss": None, "trials": {}, "commit": commit(), "machine": machine()}
    loss = sum(
        validation_loss(trained.answer(part.inputs[:], part.face, None), part, config) * len(part)
        for part in parts_of(arena.validation)
    ) / len(arena.validation)
    trials = (
        {one: judge(contest, trained, trial, pairs, arena.bank) for one, (trial, pairs) in arena.trials.items()}
        if job.whole
        else {}
    )
    return {
        "parameters": trained.parameters,
        "flops_per_row": trained.flops,
        **trained.seconds,
        "whole_seconds": whole.read()["seconds"],
        "validation_loss": loss if math.isfinite(loss) else None,
        "configuration": fingerprint(config),
        "commit": commit(),
        "machine": machine(),
        "trials": trials,
    }


def judge(contest: Contest, trained: Trained, trial: Trial, pairs: PairSet, bank: TextBank | None) -> dict[str, Any]:
    """The score of a trial, other figures, and what is lost in every row."""
    outputs = trained.answer(pairs.inputs[:], trial.face, trial.steps)
    losses = losses_of(contest.task, outputs, pairs, bank)
    lost, total = ([_short(value) for value in column] for column in losses.T.tolist())
    figures = Judge(bank).measure(outputs, pairs).to_dict()
    return {
        "score": float(1 - losses[:, 0].sum() / losses[:, 1].sum()),
        "figures": figures,
        "lost": lost,
        "total": total,
    }


def fit(contest: Contest, arena: Arena, job: Job, config: EnergyConfig, part: float, budget: float | None) -> Trained:
    """Train a lattice or a network on a part of the steps."""
    steps = contest.steps or config.epochs * batch_count(arena.train, config.batch_size)
    pairs, epochs = shortened(arena.train, max(1, round(part * steps)), config.batch_size)
    rows = home_rows(arena)
    if job.system == LATTICE:
        trainer = EnergyTrainer(create_processor(config), config)
        look = pairs_of([one.subset(torch.arange(min(LOOKED_AT, len(one)))) for one in parts_of(arena.validation)])
        clock = Clock()
        trainer.fit(PairData("board", pairs, look, look, task=contest.task), epochs)
        seconds = clock.read()

        def answer(inputs: Tensor, face: Size | None, steps: int | None) -> Tensor:
            return trainer.predict(inputs, box_with(face, steps, config))

        flops = forward_flops(trainer.processor, rows)
        return Trained(answer, count_parameters(trainer.processor), flops, seconds)
    own = config.replace(**contest.rivals)
    model = build(SYSTEMS[job.system], contest, config, rows, budget)
    waiting = TASKS[contest.task].waiting if contest.task else None
    clock = Clock()
    train(model, pairs, own, epochs, waiting)
    seconds = clock.read()

    def answers(inputs: Tensor, face: Size | None, steps: int | None) -> Tensor:
        return predict(model, inputs, course_of(face, own, steps=steps))

    return Trained(answers, count_parameters(model), forward_flops(model, rows, at_home(own)), seconds)


def solve(contest: Contest, arena: Arena, job: Job) -> Trained:
    """What has a closed form."""
    clock, config = Clock(), arena.config
    if job.system == "ridge" and contest.sized:
        cell_in, cell_out = (
            width // config.num_sites for width in (config.input_embedding_dim, config.output_embedding_dim)
        )
        mapped = WindowRidge.solve(arena.train, arena.validation, cell_in, cell_out)
        product, seconds = mapped.weights.numel(), clock.read()
        return Trained(
            lambda rows, face, steps: mapped(rows, face or config.sites),
            product,
            2.0 * product * config.num_sites,
            seconds,
        )
    train_pairs, validation = one_size(job.system, arena.train), one_size(job.system, arena.validation)
    solutions: dict[str, Callable[[Tensor], Tensor]] = {
        "input itself": lambda rows: rows,
        "ridge": lambda rows: ridge(train_pairs, validation, rows),
        "Procrustes": lambda rows: procrustes(train_pairs, rows),
    }
    solution = solutions[job.system]
    product = 0 if job.system == "input itself" else config.input_embedding_dim * config.output_embedding_dim
    solution(train_pairs.inputs[:1])
    return Trained(lambda rows, face, steps: solution(rows), product, 2.0 * product, clock.read())


def shortened(pairs: Pairs, steps: int, batch_size: int) -> tuple[Pairs, int]:
    """The pairs and epochs that take about so many steps: fewer rows of every size, where one epoch has more."""
    parts = parts_of(pairs)
    most = max(1, steps // len(parts)) * batch_size
    kept = pairs_of([part.subset(torch.arange(most)) if len(part) > most else part for part in parts])
    return kept, max(1, round(steps / batch_count(kept, batch_size)))


def box_with(face: Size | None, steps: int | None, config: EnergyConfig) -> Box | None:
    """The lattice for a face, in which an untrained path takes so many steps; None is the model's own."""
    box = box_of(face, config)
    if steps is None:
        return box
    inside = config if box is None else config.in_box(box)
    return inside.deepened(steps - inside.untrained_path)


def home_rows(arena: Arena) -> Tensor:
    """(B, E) rows of the lattice's own face."""
    sites = arena.config.sites
    part = next(one for one in parts_of(arena.validation) if one.face in (None, sites))
    return part.inputs[:64]


def recipe_of(name: str, source: str, effort: Effort) -> str:
    """What tells runs of one recipe from those of another: rows, steps, and what differs from the defaults.

    Code and defaults are not in it, since most changes of them change no run; every run says its commit.
    """
    contest = CONTESTS[name]
    shared = dataclasses.replace(effort, seeds=0, rival_seeds=0, tunes=False, grid=())  # of these a run knows nothing
    words = repr((contest, shared, source if contest.task is None else ""))
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def _fewer(rows: int, part: float) -> int:
    return max(FEWEST_ROWS, round(part * rows))


def _short(value: float) -> float | int:
    return int(value) if value in (0.0, 1.0) else float(f"{value:.{DIGITS}g}")
