"""What does the lattice add, beside everything simpler that trains on the same rows?

Every system sees the same rows in the same order with the same loss, optimizer and schedule, each with its own peak
learning rate: the one of least validation loss in a whole run of the first seed. The last weights count. Scores are of
the test split; intervals are 95 %, bootstrap over the test rows, of the mean over the seeds. FLOPs are those of the
weights' products in a forward pass.

    python -m benchmarks.learning.scoreboard --task sudoku-4 [--seeds 0 1 2 3 4] [--quick] [--data FOLDER] [--workers 2]

Tasks: identity, rotation, conditional-permutation, deep-teacher, sudoku-4, digits, reverse-dictionary (the shipped set,
or a folder of `energy-flow data embed`). Written to results/scoreboard_TASK as JSON, Markdown and CSV.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.common import fingerprint, parser_for, publish, write_tables
from benchmarks.learning.baselines import (
    ChunkGRU,
    ChunkTransformer,
    LatticeOff,
    ResidualMLP,
    closest,
    count_parameters,
    forward_flops,
    identity_linear,
    predict,
    procrustes,
    ridge,
    train,
    validation_loss,
)
from benchmarks.learning.synthetic_tasks import CONFIG
from energy_flow.config import EnergyConfig, create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import TASKS, PairData, load_data, make_task
from energy_flow.data.sources import SHIPPED, data_settings
from energy_flow.training import EnergyTrainer, Judge

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
TEXT_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
QUICK_SHARE = 0.1
STEPS = {
    "identity": 500,
    "rotation": 500,
    "conditional-permutation": 1500,
    "deep-teacher": 1500,
    "sudoku-4": 2000,
    "digits": 500,
}
TEXT = "reverse-dictionary"
UNTRAINED = ("input itself", "ridge", "Procrustes")
FLOP_MATCHED = "residual MLP, FLOPs"
TRAINED = (
    "lattice",
    "lattice off",
    "linear",
    "residual MLP, parameters",
    "residual MLP, 2 x parameters",
    "GRU over chunks",
    "Transformer over chunks",
    "Transformer, 2 x parameters",
    FLOP_MATCHED,
)
RESAMPLES = 1000


@dataclass(frozen=True)
class Job:
    """One system, trained once (or solved), and judged."""

    task: str
    source: str
    system: str
    seed: int
    rate: float = 0.0
    share: float = 1.0
    flops: float = 0.0  # the budget of the MLP that is matched in FLOPs


class Outcome(NamedTuple):
    """What a job gives."""

    losses: Tensor  # (N test rows, 2): what is lost in a row, and what there is to lose; the score is 1 - sum / sum
    figures: dict[str, float]
    validation_loss: float
    parameters: int
    flops: float
    seconds: float


@dataclass
class Row:
    """A system over the seeds."""

    system: str
    rate: float
    outcomes: list[Outcome] = field(default_factory=list)


@lru_cache(maxsize=1)
def load(task: str, source: str, seed: int, share: float) -> PairData:
    """The data of a job: fresh rows for one epoch, or the given ones."""
    data = load_data(source) if task == TEXT else make_task(task, STEPS[task] * CONFIG["batch_size"], seed=seed)
    rows = torch.arange(max(2 * CONFIG["batch_size"], int(share * len(data.train))))
    part = data.train.subset(rows) if share < 1 else data.train
    return PairData(data.name, part, data.validation, data.test, data.bank, data.encoders, data.task)


def configure(task: str, data: PairData, seed: int, rate: float) -> EnergyConfig:
    changes = {"seed": seed} | ({"learning_rate": rate} if rate else {})
    if task == TEXT:
        return create_tiny_config(**data_settings(data) | {"warmup_steps": 100} | changes)
    return EnergyConfig.from_dict(CONFIG | data_settings(data) | changes)


def epochs_of(task: str, data: PairData, config: EnergyConfig, share: float) -> int:
    if task == TEXT:
        return config.epochs
    steps = STEPS[task] * share
    return max(1, round(steps * config.batch_size / len(data.train)))


def build(system: str, config: EnergyConfig, flops: float) -> nn.Module:
    """A network of the size that its name asks for."""
    widths, sites = (config.input_embedding_dim, config.output_embedding_dim), config.num_sites
    budget = count_parameters(create_processor(config))
    probe = torch.randn(4, widths[0])
    torch.manual_seed(config.seed)

    def of(network: Callable[..., nn.Module], *arguments: int) -> Callable[[int], nn.Module]:
        return lambda hidden: network(*widths, *arguments, hidden)

    builders: dict[str, Callable[[], nn.Module]] = {
        "lattice off": lambda: LatticeOff(config),
        "linear": lambda: identity_linear(*widths),
        "residual MLP, parameters": lambda: closest(of(ResidualMLP), count_parameters, budget),
        "residual MLP, 2 x parameters": lambda: closest(of(ResidualMLP), count_parameters, 2 * budget),
        "GRU over chunks": lambda: closest(of(ChunkGRU, sites), count_parameters, budget),
        "Transformer over chunks": lambda: closest(of(ChunkTransformer, sites), count_parameters, budget),
        "Transformer, 2 x parameters": lambda: closest(of(ChunkTransformer, sites), count_parameters, 2 * budget),
        FLOP_MATCHED: lambda: closest(of(ResidualMLP), partial(forward_flops, rows=probe), flops),
    }
    return builders[system]()


def run(job: Job) -> Outcome:
    data = load(job.task, job.source, job.seed, job.share)
    config = configure(job.task, data, job.seed, job.rate)
    test, held_out = data.test, data.validation
    started, parameters, flops = time.perf_counter(), 0, 0.0
    if job.system == "lattice":
        trainer = EnergyTrainer(create_processor(config), config)
        trainer.train(data.train.inputs, data.train.targets, epochs_of(job.task, data, config, job.share))
        outputs, held_out_outputs = trainer.predict(test.inputs), trainer.predict(held_out.inputs)
        parameters, flops = count_parameters(trainer.processor), forward_flops(trainer.processor, test.inputs[:64])
    elif job.system in UNTRAINED:
        solve = {
            "input itself": lambda inputs: inputs,
            "ridge": lambda inputs: ridge(data.train, held_out, inputs),
            "Procrustes": lambda inputs: procrustes(data.train, inputs),
        }[job.system]
        outputs, held_out_outputs = solve(test.inputs[:]), solve(held_out.inputs[:])
        product = test.inputs.shape[1] * test.targets.shape[1] if job.system != "input itself" else 0
        parameters, flops = product, 2.0 * product
    else:
        model = build(job.system, config, job.flops)
        train(model, data.train, config, epochs_of(job.task, data, config, job.share))
        outputs, held_out_outputs = predict(model, test.inputs), predict(model, held_out.inputs)
        parameters, flops = count_parameters(model), forward_flops(model, test.inputs[:64])
    seconds = time.perf_counter() - started
    loss = validation_loss(held_out_outputs, held_out, config)
    losses, figures = judge(data, outputs)
    return Outcome(losses, figures, loss if math.isfinite(loss) else math.inf, parameters, flops, seconds)


def judge(data: PairData, outputs: Tensor) -> tuple[Tensor, dict[str, float]]:
    """What is lost row by row, and every figure."""
    by_bank, targets = Judge(data.bank), data.test.targets[:]
    figures = by_bank.measure(outputs, data.test).to_dict()
    ranks = by_bank.ranks(outputs, data.test)
    if ranks is not None:
        return torch.stack(((ranks >= 10).double(), torch.ones(len(ranks)).double()), dim=1), figures
    metric = TASKS[data.task].metric if data.task else None
    if metric is None or TASKS[data.task or ""].metric_name == "R2":
        lost = (outputs - targets).double().square().sum(1)
        return torch.stack((lost, (targets - targets.mean(0)).double().square().sum(1)), dim=1), figures
    hits = torch.tensor([metric(outputs[row : row + 1], targets[row : row + 1]) for row in range(len(outputs))])
    return torch.stack((1 - hits.double(), torch.ones(len(hits)).double()), dim=1), figures


def headline(data_task: str | None) -> str:
    return TASKS[data_task].metric_name if data_task else "acc@10"


def score(losses: Tensor) -> float:
    return float(1 - losses[:, 0].sum() / losses[:, 1].sum())


def resampled(rows: Sequence[Row]) -> dict[str, Tensor]:
    """(RESAMPLES,) of each system: the mean score over the seeds, the same rows drawn for all systems."""
    generator = torch.Generator().manual_seed(0)
    drawn: dict[str, list[float]] = {row.system: [] for row in rows}
    count = len(rows[0].outcomes[0].losses)
    for _ in range(RESAMPLES):
        chosen = torch.randint(count, (count,), generator=generator)
        for row in rows:
            drawn[row.system].append(statistics.mean(score(one.losses[chosen]) for one in row.outcomes))
    return {system: torch.tensor(values) for system, values in drawn.items()}


def interval(values: Tensor) -> str:
    low, high = values.quantile(torch.tensor([0.025, 0.975])).tolist()
    return f"{low:.3f} to {high:.3f}"


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{deviation}"


def tune(
    pool: ProcessPoolExecutor, job: Callable[..., Job], systems: Sequence[str], rates: Sequence[float]
) -> dict[str, tuple[float, Outcome]]:
    """The rate of least validation loss for each system, and what it gave."""
    asked = [(system, rate, pool.submit(run, job(system=system, rate=rate))) for system in systems for rate in rates]
    found: dict[str, tuple[float, Outcome]] = {}
    for system, rate, future in asked:
        outcome = future.result()
        if system not in found or outcome.validation_loss < found[system][1].validation_loss:
            found[system] = (rate, outcome)
    return found


def measure(task: str, source: str, seeds: Sequence[int], share: float, workers: int) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        tuning = partial(Job, task, source, seed=seeds[0], share=share)
        grid = TEXT_RATES if task == TEXT else RATES
        rates = tune(pool, tuning, TRAINED[:-1], grid)
        flops = rates["lattice"][1].flops
        rates |= tune(pool, partial(tuning, flops=flops), [FLOP_MATCHED], grid)
        print({system: rate for system, (rate, _) in rates.items()}, flush=True)
        data = load(task, source, 0, share)
        fitting = data.train.inputs.shape[1] == data.train.targets.shape[1]
        untrained = [system for system in UNTRAINED if fitting or system != "input itself"]
        asked = [
            (system, pool.submit(run, Job(task, source, system, seed, rates[system][0], share, flops)))
            for system in sorted(TRAINED, key=lambda name: name not in ("lattice", FLOP_MATCHED))  # the longest first
            for seed in seeds[1:]  # the first is known from the tuning
        ]
        asked += [
            (system, pool.submit(run, Job(task, source, system, seed, 0.0, share)))
            for system in untrained
            for seed in (seeds if task != TEXT else seeds[:1])
        ]
        rows = {system: Row(system, 0.0) for system in untrained}
        rows |= {system: Row(system, rates[system][0], [rates[system][1]]) for system in TRAINED}
        for system, future in asked:
            rows[system].outcomes.append(future.result())
    return list(rows.values())


def tabulate(rows: Sequence[Row], name: str) -> tuple[list[str], list[list[Any]]]:
    """Headings and cells: what a system is, its score beside the lattice's, and every other figure."""
    draws, figures = resampled(rows), list(rows[0].outcomes[0].figures)
    table = []
    for row in rows:
        first = row.outcomes[0]
        difference = "" if row.system == "lattice" else interval(draws["lattice"] - draws[row.system])
        cells: list[Any] = [row.system, first.parameters, round(first.flops / 1e6, 3), row.rate or "-"]
        cells += [spread([score(one.losses) for one in row.outcomes]), interval(draws[row.system]), difference]
        cells += [spread([one.figures[figure] for one in row.outcomes]) for figure in figures]
        table.append([*cells, round(statistics.mean(one.seconds for one in row.outcomes), 1)])
    columns = ["system", "parameters", "MFLOP per row", "rate", name, "95 %", "lattice minus it, 95 %"]
    return [*columns, *figures, "seconds"], table


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--task", required=True, choices=(*STEPS, TEXT))
    parser.add_argument("--data", default=SHIPPED, help=f"pair set of {TEXT}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="one seed, a tenth of the rows")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes of one thread")
    arguments = parser.parse_args()
    seeds, share = ([0], QUICK_SHARE) if arguments.quick else (arguments.seeds, 1.0)
    started = time.perf_counter()
    rows = measure(arguments.task, arguments.data, seeds, share, arguments.workers)
    minutes = (time.perf_counter() - started) / 60
    data = load(arguments.task, arguments.data, 0, share)
    config = configure(arguments.task, data, 0, 0.0)

    columns, table = tabulate(rows, headline(data.task))
    title = (
        f"{arguments.task}: {len(data.train)} training rows x {epochs_of(arguments.task, data, config, share)} epochs, "
        f"{len(data.test)} test rows, seeds {' '.join(map(str, seeds))}, configuration {fingerprint(config)}, "
        f"{minutes:.0f} min"
    )
    path = arguments.results / f"scoreboard_{arguments.task}{'_quick' if arguments.quick else ''}.json"
    publish(path, title, columns, table, configuration=config.to_dict(), seeds=list(seeds), minutes=round(minutes, 1))
    write_tables(path, title, columns, table, seeds=" ".join(map(str, seeds)), configuration=fingerprint(config))


if __name__ == "__main__":
    main()
