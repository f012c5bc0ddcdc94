"""What is to run next. All of it follows from what has run, so that a board that was cut goes on where it was.

A system is tuned on a part of the steps, its best rate is checked against both neighbours on whole runs, and then the
other seeds run. In the end the two best rivals get as many seeds as the lattice.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .rates import search
from .systems import LATTICE, OFF, SYSTEMS

Run = Mapping[str, Any]  # what a finished run left, see `runs`
BEST_RIVALS = 2


@dataclass(frozen=True)
class Job:
    """One training, or one solution of a closed form."""

    system: str
    seed: int = 0
    rate: float = 0.0
    whole: bool = True  # or the part on which rates are tuned


Finished = Mapping[Job, Run]


@dataclass(frozen=True)
class Effort:
    """How much is spent.

    Attributes:
        grid: rates to begin with.
        tunes: whether rates are searched; if not, the grid has one.
        seeds: of the lattice and of the best rivals.
        rival_seeds: of all others.
        tuned_part: of the steps, in tuning.
        part: of the steps, in whole runs.
        rows_part: of the rows that are judged.
    """

    grid: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    tunes: bool = True
    seeds: int = 5
    rival_seeds: int = 3
    tuned_part: float = 1 / 3
    part: float = 1.0
    rows_part: float = 1.0


QUICK = Effort(grid=(2e-3,), tunes=False, seeds=1, rival_seeds=1, part=0.1, rows_part=0.1)


def next_jobs(systems: Sequence[str], finished: Finished, effort: Effort) -> list[Job]:
    """The jobs that can run now; none when the board is complete."""
    knows_work = LATTICE not in systems or lattice_flops(finished, effort) is not None
    ready = [name for name in systems if knows_work or SYSTEMS[name].by != "FLOPs"]
    jobs = [job for name in ready for job in jobs_of(name, finished, effort, effort.rival_seeds)]
    if jobs:
        return jobs
    rivals = best_rivals(systems, finished, effort)
    return [job for name in rivals for job in jobs_of(name, finished, effort, effort.seeds)]


def jobs_of(name: str, finished: Finished, effort: Effort, rival_seeds: int) -> list[Job]:
    """The jobs of one system that can run now."""
    system = SYSTEMS[name]
    if system.solved:
        return [job for job in (Job(name),) if job not in finished]
    if not effort.tunes:
        rate: float | None = effort.grid[0]
    else:
        tuned = search(_losses(name, finished, whole=False), effort.grid)
        if tuned.best is None:
            return [Job(name, 0, rate, whole=False) for rate in tuned.missing]
        checked = search(_losses(name, finished, whole=True), (tuned.best,))
        if checked.best is None:
            return [Job(name, 0, rate) for rate in checked.missing]
        rate = checked.best
    seeds = effort.seeds if name == LATTICE else rival_seeds
    return [job for job in (Job(name, seed, rate) for seed in range(seeds)) if job not in finished]


def chosen_rate(name: str, finished: Finished, effort: Effort) -> float | None:
    """The rate of a system's row; None where it is not known yet."""
    if SYSTEMS[name].solved:
        return 0.0
    if not effort.tunes:
        return effort.grid[0]
    tuned = search(_losses(name, finished, whole=False), effort.grid)
    if tuned.best is None:
        return None
    return search(_losses(name, finished, whole=True), (tuned.best,)).best


def rows_of(name: str, finished: Finished, effort: Effort) -> list[Run]:
    """The whole runs of a system at its rate, by their seeds."""
    rate = chosen_rate(name, finished, effort)
    found = [(job.seed, run) for job, run in finished.items() if job == Job(name, job.seed, rate or 0.0)]
    return [] if rate is None else [run for _, run in sorted(found, key=lambda one: one[0])]


def lattice_flops(finished: Finished, effort: Effort) -> float | None:
    """The work of the trained lattice for a row, which some rivals match; None where it is not known yet."""
    return next((run.get("flops_per_row") for run in rows_of(LATTICE, finished, effort)), None)


def best_rivals(systems: Sequence[str], finished: Finished, effort: Effort) -> list[str]:
    """The rivals whose score, as the mean over all trials and seeds, is largest."""

    def mean_score(name: str) -> float:
        scores = [trial["score"] for run in rows_of(name, finished, effort) for trial in run["trials"].values()]
        return statistics.mean(scores) if scores else -math.inf

    rivals = [name for name in systems if name not in (LATTICE, OFF) and not SYSTEMS[name].solved]
    return sorted(rivals, key=mean_score, reverse=True)[:BEST_RIVALS]


def _losses(name: str, finished: Finished, whole: bool) -> dict[float, float]:
    """The validation loss of the first seed at every rate that was tried."""
    return {
        job.rate: math.inf if run["validation_loss"] is None else run["validation_loss"]
        for job, run in finished.items()
        if (job.system, job.seed, job.whole) == (name, 0, whole)
    }
