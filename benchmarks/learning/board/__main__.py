"""What does the lattice add, beside everything simpler that trains on the same rows with the same recipe?

Every system sees the same rows in the same batches, with the same loss, read-outs along the way, preludes, optimizer,
decay, average and schedule, each with its own peak learning rate. It is the one of least validation loss: tuned on a
third of the steps, checked against half and twice of it on whole runs, and never at the edge of what was tried.
Where rows differ in size, ridge and the MLPs see the 5 x 5 cells around each cell, and whole rows elsewhere.
Networks have as many parameters as the lattice (within 5 %), or as many FLOPs a row where their name says so; work is
that of the products, at the lattice's own face. Scores are of the test rows; intervals are 95 %, over seeds and rows
together; one of no width, where every row of every seed is right or wrong, says nothing. Seconds are those of training
in one thread, on the wall and of the processor.

    python -m benchmarks.learning.board --task maze --resume --time-limit 240 [--quick] [--systems lattice ridge]

Every finished run is kept in results/board/TASK, and --resume goes on with what is there. The table goes to
results/board_TASK as JSON, Markdown and CSV, of what has run by then.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import torch

from benchmarks.common import fingerprint, parser_for, publish, write_tables
from benchmarks.learning.board.competition import compete
from benchmarks.learning.board.contests import CONTESTS
from benchmarks.learning.board.judging import headline
from benchmarks.learning.board.plan import QUICK, Effort
from benchmarks.learning.board.runs import Runs
from benchmarks.learning.board.systems import SYSTEMS
from benchmarks.learning.board.table import figures_of, rows_by_system, tabulate
from benchmarks.learning.board.work import arena_of, recipe_of, run
from energy_flow.data.sources import SHIPPED


def systems_of(name: str, source: str, asked: list[str] | None, effort: Effort) -> list[str]:
    """Those that can take part, of those that are asked for."""
    config = arena_of(name, source, effort.rows_part).config
    equal = config.input_embedding_dim == config.output_embedding_dim
    return [one for one, system in SYSTEMS.items() if one in (asked or SYSTEMS) and system.fits(CONTESTS[name], equal)]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--task", required=True, choices=CONTESTS)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--seeds", type=int, default=Effort.seeds, help="of the lattice and of the two best rivals")
    parser.add_argument("--rival-seeds", type=int, default=Effort.rival_seeds, help="of all others")
    parser.add_argument("--quick", action="store_true", help="one seed and rate, a tenth of the steps and test rows")
    parser.add_argument("--resume", action="store_true", help="go on with the finished runs that are there")
    parser.add_argument("--time-limit", type=float, help="minutes after which no run is started")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--data", default=SHIPPED, help="pair set of reverse-dictionary")
    arguments = parser.parse_args()
    name, source, started = arguments.task, arguments.data, time.monotonic()
    effort = QUICK if arguments.quick else replace(Effort(), seeds=arguments.seeds, rival_seeds=arguments.rival_seeds)
    label = f"{name}_quick" if arguments.quick else name
    try:
        runs = Runs(arguments.results / "board" / label, recipe_of(name, source, effort), arguments.resume)
    except ValueError as error:
        parser.error(str(error))
    systems = systems_of(name, source, arguments.systems, effort)
    until = None if arguments.time_limit is None else started + 60 * arguments.time_limit
    context = multiprocessing.get_context("spawn")
    limit = {"mp_context": context, "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(arguments.workers, **limit) as pool:
        job = partial(run, name=name, source=source, effort=effort)
        left = compete(systems, runs, effort, job, pool, arguments.workers, until)
    rows = rows_by_system(systems, runs.finished, effort)
    if not rows:
        print("no system has a row yet; go on with --resume")
        return
    arena = arena_of(name, source, effort.rows_part)
    columns, table = tabulate(rows, runs.finished, effort)
    title = (
        f"{name}, {headline(CONTESTS[name].task)}; configuration {fingerprint(arena.config)}, {len(runs.finished)} runs"
    )
    title += f", of {', '.join(sorted({run.get('commit') or 'no commit' for run in runs.finished.values()}))}"
    title += "; ridge and MLPs see 5 x 5 cells" if CONTESTS[name].sized else ""
    title += f"; cut, {len(left)} or more to go: --resume" if left else ""
    path = arguments.results / f"board_{label}.json"
    publish(
        path, title, columns, table, configuration=arena.config.to_dict(), figures=figures_of(rows), recipe=runs.recipe
    )
    write_tables(path, title, columns, table, recipe=runs.recipe, configuration=fingerprint(arena.config))


if __name__ == "__main__":
    main()
