"""Run what is to be run, some jobs at a time, until the board is complete or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

from .plan import Effort, Finished, Job, lattice_flops, next_jobs
from .runs import Runs

Work = Callable[[Job, float | None], dict[str, Any]]


def compete(
    systems: Sequence[str],
    runs: Runs,
    effort: Effort,
    work: Work,
    pool: Executor,
    workers: int = 1,
    until: float | None = None,
) -> list[Job]:
    """Run jobs, and keep each as soon as it has finished.

    Args:
        systems: who takes part.
        runs: the finished ones; they grow.
        effort: how much is spent.
        work: a job, and the lattice's FLOPs for a row where they are known, to what the job leaves; it must be
            picklable where the pool has processes.
        pool: where jobs run.
        workers: how many run at a time.
        until: when `time.monotonic()` is beyond it, no job is started, and before it none that would end later.

    Returns:
        What could have run next: no job where the board is complete.
    """
    pending: dict[Future[dict[str, Any]], Job] = {}
    while True:
        coming = [job for job in next_jobs(systems, runs.finished, effort) if job not in pending.values()]
        for job in coming[: workers - len(pending)]:
            if until is None or time.monotonic() + expected(job, runs.finished, effort) <= until:
                print(f"{job.system}: rate {job.rate:g}, seed {job.seed}{'' if job.whole else ', tuning'}", flush=True)
                pending[pool.submit(work, job, lattice_flops(runs.finished, effort))] = job
        if not pending:
            return coming
        for done in wait(pending, return_when=FIRST_COMPLETED).done:
            runs.add(pending.pop(done), done.result())


def expected(job: Job, finished: Finished, effort: Effort) -> float:
    """Seconds that a job will take, from the longest of its system; 0 where there is none yet."""
    shares = {one: (1.0 if one.whole else effort.tuned_part) for one in finished if one.system == job.system}
    own = 1.0 if job.whole else effort.tuned_part
    return max((finished[one].get("whole_seconds", 0.0) * own / share for one, share in shares.items()), default=0.0)
