"""The board as a table: what a system is, and its score at every trial beside the lattice's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .bootstrap import interval, resampled
from .plan import Effort, Finished, Run, chosen_rate, rows_of
from .systems import LATTICE

SECONDS = ("seconds", "processor_seconds")
Rows = dict[str, list[Run]]  # of each system: its whole runs, seed by seed


def rows_by_system(systems: Sequence[str], finished: Finished, effort: Effort) -> Rows:
    """The systems that have a row: those whose rate is known, and that ran and did not fail."""
    found = {name: [run for run in rows_of(name, finished, effort) if run["trials"]] for name in systems}
    return {name: runs for name, runs in found.items() if runs}


def tabulate(rows: Rows, finished: Finished, effort: Effort) -> tuple[list[str], list[list[Any]]]:
    """Headings and cells; a score is the mean over the seeds, with its interval over seeds and rows."""
    trials = list(next(iter(rows.values()))[0]["trials"])
    draws = {trial: resampled({name: _losses(runs, trial) for name, runs in rows.items()}) for trial in trials}
    rivals = LATTICE in rows and len(rows) > 1
    table = []
    for name, runs in rows.items():
        cells: list[Any] = [name, runs[0]["parameters"], round(runs[0]["flops_per_row"] / 1e6, 3)]
        cells += [chosen_rate(name, finished, effort) or "-", len(runs)]
        cells += [f"{_mean_score(runs, trial):.3f} ({_bounds(draws[trial][name])})" for trial in trials]
        if rivals:
            cells += [
                "" if name == LATTICE else _bounds(draws[trial][LATTICE] - draws[trial][name]) for trial in trials
            ]
        table.append([*cells, *(round(statistics.mean(run[clock] for run in runs), 1) for clock in SECONDS)])
    columns = ["system", "parameters", "MFLOP per row", "rate", "seeds", *trials]
    columns += [f"lattice minus it, {trial}" for trial in trials] if rivals else []
    return [*columns, "seconds", "of the processor"], table


def figures_of(rows: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """The mean over the seeds of every other figure, by system and trial."""
    return {
        name: {
            trial: {
                figure: statistics.mean(run["trials"][trial]["figures"][figure] for run in runs)
                for figure in runs[0]["trials"][trial]["figures"]
            }
            for trial in runs[0]["trials"]
        }
        for name, runs in rows.items()
    }


def _losses(runs: Sequence[Run], trial: str) -> tuple[Tensor, Tensor]:
    """(K, N) what is lost, and what there is to lose."""
    lost, total = (torch.tensor([run["trials"][trial][part] for run in runs]).double() for part in ("lost", "total"))
    return lost, total


def _mean_score(runs: Sequence[Run], trial: str) -> float:
    return statistics.mean(run["trials"][trial]["score"] for run in runs)


def _bounds(draws: Tensor) -> str:
    low, high = interval(draws)
    return f"{low:.3f} to {high:.3f}"
