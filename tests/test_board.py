"""The board: the same recipe for all, rates inside their grid, intervals over rows and seeds, and runs that stay."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.learning.board.bootstrap import interval, resampled
from benchmarks.learning.board.competition import compete, expected
from benchmarks.learning.board.contests import CONTESTS, Contest, Trial, grid
from benchmarks.learning.board.judging import hits_of, losses_of
from benchmarks.learning.board.plan import Effort, Job, best_rivals, chosen_rate, lattice_flops, next_jobs
from benchmarks.learning.board.rates import LEAST, search
from benchmarks.learning.board.runs import Runs
from benchmarks.learning.board.systems import LATTICE, NETWORKS, SYSTEMS, build
from benchmarks.learning.board.table import rows_by_system, tabulate
from benchmarks.learning.board.work import arena_of, box_with, recipe_of, run, shortened
from benchmarks.learning.matching import count_parameters
from benchmarks.learning.rivals import (
    Contestant,
    ConvGRU,
    Course,
    OverCells,
    ResidualMLP,
    WindowMLP,
    identity_linear,
)
from benchmarks.learning.synthetic_tasks import CONFIG
from benchmarks.learning.training import course_of, predict, train
from energy_flow.config import EnergyConfig
from energy_flow.core import FlowProcessor, create_processor
from energy_flow.data import TASKS, PairSet, make_task
from energy_flow.data.pairs import SizedPairs, parts_of
from energy_flow.data.sources import data_settings
from energy_flow.data.tasks import Sizes
from energy_flow.training import EnergyTrainer

SMALL = {"energy_dim": 8, "carrier_hidden_size": 8, "neuron_hidden_dim": 8, "neuron_output_dim": 8, "batch_size": 8}
EFFORT = Effort(grid=(2e-3,), tunes=False, seeds=2, rival_seeds=1)
TINY = Contest(
    "maze",
    grid(9, 4, **SMALL, prelude_steps=3),
    steps=3,
    trials=(Trial(10, (3, 3)), Trial(10, (4, 4), steps=9)),
    validation_rows=8,
    train_faces=((2, 2), (3, 3)),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(CONTESTS, "tiny", TINY)
    arena_of.cache_clear()
    return "tiny"


# The recipe


class Lattice(Contestant):
    """A lattice as `train` sees a rival."""

    def __init__(self, processor: FlowProcessor) -> None:
        super().__init__(processor)
        self.processor = processor

    def forward(self, rows: torch.Tensor, course: Course) -> list[torch.Tensor]:
        config = self.processor.config
        box = None if course.face == config.sites else config.box_of(course.face)
        result = self.processor.run(rows, box=box, along=config.loss_along, prelude=course.prelude)
        return [result.output] if result.along is None else list(result.along)


def test_rivals_train_as_the_trainer_does() -> None:
    """A lattice that either of them trains ends with the same weights: sizes, preludes, read-outs, decay, average."""
    data = make_task("maze", 64, 8, sizes=Sizes(((3, 3), (4, 4)), ((3, 3),), ((3, 3),)))
    settings = grid(9, 4, **SMALL, prelude_steps=4, learning_rate=1e-2) | data_settings(data)
    settings |= {"lattice_width": 3, "lattice_height": 3, "sites": (3, 3)}
    part = parts_of(data.train)[0]
    config = EnergyConfig.from_dict(
        settings | {"input_embedding_dim": part.inputs.shape[1], "output_embedding_dim": 18}
    )
    ours, theirs = create_processor(config), create_processor(config)
    train(Lattice(ours), data.train, config, 2, TASKS["maze"].waiting)
    trainer = EnergyTrainer(theirs, config)
    trainer.fit(data, 2)
    inputs = data.test.inputs[:]
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(inputs), trainer.predict(inputs), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(ours(inputs), create_processor(config)(inputs), atol=1e-2)


def test_plain_modules_train_as_the_trainer_does() -> None:
    data = make_task("rotation", 96, test_rows=50)
    config = EnergyConfig.from_dict(CONFIG | data_settings(data) | {"warmup_steps": 5, "batch_size": 16})
    ours, theirs = create_processor(config), create_processor(config)
    train(ours, data.train, config, 1)
    EnergyTrainer(theirs, config).train(data.train.inputs[:], data.train.targets[:], 1)
    for (name, weight), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(weight, other, msg=name)


def test_a_linear_map_learns_a_rotation_in_the_loop() -> None:
    data = make_task("rotation", 1280, test_rows=200)
    config = EnergyConfig.from_dict(CONFIG | data_settings(data) | {"warmup_steps": 5, "learning_rate": 3e-2})
    model = identity_linear(64, 64)
    before = TASKS["rotation"].metric(predict(model, data.test.inputs), data.test.targets[:])
    train(model, data.train, config, 10)
    assert before < 0
    assert TASKS["rotation"].metric(predict(model, data.test.inputs), data.test.targets[:]) > 0.9


def test_a_loss_that_is_not_finite_stops_before_the_step() -> None:
    data = make_task("rotation", 256, test_rows=50)
    config = EnergyConfig.from_dict(CONFIG | data_settings(data))
    model = identity_linear(64, 64)
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="step 1"):
        train(model, data.train, config, 1)
    assert bool(torch.isfinite(model.bias).all())


def test_rivals_take_the_steps_of_the_lattice() -> None:
    config = EnergyConfig.from_dict(
        TINY.recipe | {"lattice_width": 3, "lattice_height": 3, "sites": (3, 3), "loss_along": 0.5} | WIDTHS
    )
    assert course_of(None, config) == Course((3, 3), 4, 2, None, 0.0)
    longer = course_of((6, 6), config)
    assert longer.steps == round(4 * 2**config.depth_exponent) == config.in_box(config.box_of((6, 6))).untrained_path
    box = box_with((6, 6), 40, config)
    assert box is not None
    assert config.in_box(box).untrained_path == 40 == course_of((6, 6), config, steps=40).steps


def test_a_third_of_the_steps_is_a_third_of_the_rows_of_every_size() -> None:
    parts = tuple(PairSet(torch.ones(90, side * side), torch.ones(90, 1)) for side in (2, 3))
    pairs, epochs = shortened(SizedPairs(parts, ((2, 2), (3, 3))), steps=6, batch_size=10)
    assert isinstance(pairs, SizedPairs)
    assert ([len(part) for part in pairs.parts], epochs) == ([30, 30], 1)
    few, epochs = shortened(parts[0], steps=20, batch_size=10)
    assert (len(few), epochs) == (90, 2)


WIDTHS = {"input_embedding_dim": 54, "output_embedding_dim": 18, "loss_cosine": 0.0, "loss_mse": 1.0}


def test_predictions_are_without_noise() -> None:
    model, rows = OverCells(ConvGRU(6, 2, 8), 6), torch.randn(5, 54)
    course = Course((3, 3), 4, 2, noise=1.0)
    quiet = predict(model, rows, course._replace(noise=0.0))
    torch.testing.assert_close(predict(model, rows, course), quiet)
    assert not torch.allclose(model(rows, course)[-1], quiet, atol=1e-2)


# Rates


def test_no_rate_is_chosen_at_the_edge() -> None:
    found: dict[float, float] = {}
    while missing := search(found, (1e-3, 2e-3, 4e-3)).missing:
        found |= {rate: abs(math.log(rate / 3.3e-2)) for rate in missing}
    best = search(found, (1e-3, 2e-3, 4e-3)).best
    assert best == 3.2e-2
    assert {best / 2, 2 * best} <= found.keys()


def test_a_search_ends_where_nothing_can_be_learned() -> None:
    found: dict[float, float] = {}
    while missing := search(found, (1e-3, 2e-3, 4e-3)).missing:
        found |= dict.fromkeys(missing, math.inf)
    assert search(found, (1e-3, 2e-3, 4e-3)).best == 2e-3
    falling: dict[float, float] = {}
    while missing := search(falling, (1e-3, 2e-3)).missing:
        falling |= {rate: rate for rate in missing}
    assert search(falling, (1e-3, 2e-3)).best == min(falling) <= 2 * LEAST


def test_a_rate_that_fails_is_passed_over() -> None:
    found = {1e-3: 0.5, 2e-3: 0.4, 4e-3: math.inf}
    assert search(found, (1e-3, 2e-3, 4e-3)) == ((), 2e-3)


# The plan


def finish(jobs: list[Job], best: float = 2e-3, score: float = 0.5) -> dict[Job, dict]:
    return {
        job: {
            "validation_loss": abs(math.log(job.rate / best)) + 1 if job.rate else 0.0,
            "trials": {"5x5": {"score": score, "lost": [0, 1], "total": [1, 1], "figures": {}}} if job.whole else {},
            "parameters": 1,
            "flops_per_row": 1.0,
            "seconds": 1.0,
            "processor_seconds": 1.0,
        }
        for job in jobs
    }


def test_a_board_tunes_checks_and_then_takes_its_seeds() -> None:
    effort, systems, finished, turns = Effort(), [LATTICE, "ridge", "GRU"], {}, []
    while jobs := next_jobs(systems, finished, effort):
        turns.append(jobs)
        finished |= finish(jobs)
    rates = [{job.rate for job in turn if job.system == "GRU"} for turn in turns]
    assert rates[0] == {1e-3, 2e-3, 4e-3}
    assert not any(job.whole for job in turns[0] if job.system != "ridge")
    assert rates[1] == {2e-3} and rates[2] == {1e-3, 4e-3}
    assert all(job.whole for turn in turns[1:] for job in turn)
    seeds = {name: {job.seed for job in finished if job.system == name} for name in systems}
    assert seeds == {LATTICE: set(range(5)), "ridge": {0}, "GRU": set(range(5))}  # the GRU is one of the two best
    assert chosen_rate("GRU", finished, effort) == 2e-3


def test_a_whole_run_may_want_another_rate_than_a_third_of_it() -> None:
    finished: dict[Job, dict] = {}
    while jobs := next_jobs(["GRU"], finished, Effort()):
        finished |= finish([job for job in jobs if not job.whole]) | finish([job for job in jobs if job.whole], 8e-3)
    assert chosen_rate("GRU", finished, Effort()) == 8e-3
    assert Job("GRU", 0, 1.6e-2) in finished


def test_who_matches_the_work_of_the_lattice_waits_for_it() -> None:
    systems, finished = [LATTICE, "residual MLP, FLOPs"], {}
    while jobs := next_jobs(systems, finished, Effort()):
        if lattice_flops(finished, Effort()) is None:
            assert {job.system for job in jobs} == {LATTICE}
        finished |= finish(jobs)
    assert {job.system for job in finished} == set(systems)
    assert {job.system for job in next_jobs(systems[1:], {}, Effort())} == {systems[1]}


def test_the_two_best_rivals_get_more_seeds() -> None:
    systems, effort, finished = [LATTICE, "GRU", "Transformer", "convolutional GRU", "lattice off"], Effort(), {}
    points = dict(zip(systems, (0.9, 0.1, 0.4, 0.3, 0.8), strict=True))
    while jobs := next_jobs(systems, finished, effort):
        for job in jobs:
            finished |= finish([job], score=points[job.system])
    assert best_rivals(systems, finished, effort) == ["Transformer", "convolutional GRU"]
    seeds = {name: len({job.seed for job in finished if job.system == name}) for name in systems}
    assert list(seeds.values()) == [5, 3, 5, 5, 3]


# Intervals


def test_seeds_are_drawn_too() -> None:
    """Two seeds, one right in every row and one in none: a draw gives 0, 1/2 or 1 with chances 1/4, 1/2, 1/4."""
    lost = torch.stack((torch.zeros(30), torch.ones(30)))
    draws = resampled({"one": (lost, torch.ones(2, 30))}, draws=4000)["one"]
    for value, chance in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25)):
        assert float((draws == value).double().mean()) == pytest.approx(chance, abs=0.03)
    assert interval(draws) == (0.0, 1.0)


def test_rows_and_seeds_add_their_variances() -> None:
    """A score is a seed's part and a row's part: the variance of the mean is the sum of v / seeds and w / rows."""
    random = torch.Generator().manual_seed(1)
    of_seed, of_row = torch.randn(6, 1, generator=random) * 0.1, torch.randn(1, 400, generator=random)
    lost = (of_seed + of_row).double()
    draws = resampled({"one": (lost, torch.ones(6, 400))}, draws=4000)["one"]
    wanted = float(of_seed.var(correction=0) / 6 + of_row.var(correction=0) / 400)
    assert float(draws.var()) == pytest.approx(wanted, rel=0.1)
    assert float(draws.mean()) == pytest.approx(1 - float(lost.mean()), abs=0.01)


def test_the_same_rows_are_drawn_for_all_systems() -> None:
    lost = torch.rand(1, 400, generator=torch.Generator().manual_seed(1)).double()
    total = torch.ones(1, 400)
    draws = resampled({"one": (lost, total), "better by a tenth": (lost - 0.1, total)})
    low, high = interval(draws["better by a tenth"] - draws["one"])
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)
    low, high = interval(draws["one"])
    assert high - low == pytest.approx(2 * 1.96 * float(lost.std()) / 20, rel=0.15)


def test_a_system_has_the_same_interval_whoever_else_takes_part() -> None:
    lost, total = torch.rand(3, 50, generator=torch.Generator().manual_seed(1)).double(), torch.ones(3, 50)
    again = "".join(("o", "ne"))  # of the same letters, and not the same object
    alone, with_other = resampled({"one": (lost, total)}), resampled({"other": (lost, total), again: (lost, total)})
    torch.testing.assert_close(alone["one"], with_other["one"], atol=0, rtol=0)


def test_the_table_takes_a_rival_off_the_lattice() -> None:
    finished = finish([Job(LATTICE, 0, 2e-3), Job("GRU", 0, 2e-3)])
    finished[Job(LATTICE, 0, 2e-3)]["trials"]["5x5"]["lost"] = [0, 0]
    finished[Job("GRU", 0, 2e-3)]["trials"]["5x5"]["lost"] = [1, 1]
    columns, table = tabulate(rows_by_system([LATTICE, "GRU"], finished, EFFORT), finished, EFFORT)
    assert [row[columns.index("lattice minus it, 5x5")] for row in table] == ["", "1.000 to 1.000"]


# Judging


def test_hits_are_found_by_halves() -> None:
    wanted = torch.rand(37, generator=torch.Generator().manual_seed(0)) < 0.3
    assert hits_of(lambda rows: float(wanted[rows].double().mean()), 37).tolist() == wanted.tolist()


@pytest.mark.parametrize("name", ["deep-teacher", "maze", "flood", "chain-parity"])
def test_what_is_lost_in_rows_adds_up_to_the_score(name: str) -> None:
    pairs = make_task(name, 8, 40).test
    assert isinstance(pairs, PairSet)
    random = torch.Generator().manual_seed(0)
    outputs = pairs.targets[:] + 0.3 * torch.randn(pairs.targets.shape, generator=random)
    losses = losses_of(name, outputs, pairs)
    score = TASKS[name].score(pairs.inputs[:], outputs, pairs.targets[:], pairs.face)
    assert 0 < score < 1
    assert float(1 - losses[:, 0].sum() / losses[:, 1].sum()) == pytest.approx(score, abs=1e-9)


# Runs


def test_a_board_that_was_cut_goes_on_and_ends_with_the_same_table(tiny: str, tmp_path: Path) -> None:
    systems, recipe = [LATTICE, "ridge", "convolutional GRU"], recipe_of(tiny, "", EFFORT)
    done: list[Job] = []

    def work(job: Job, flops: float | None, most: int) -> dict:
        if len(done) == most:
            raise KeyboardInterrupt
        done.append(job)
        return run(job, flops, tiny, "", EFFORT)

    def board(folder: Path, resume: bool, most: int) -> list:
        runs = Runs(folder, recipe, resume)
        with ThreadPoolExecutor(1) as pool:
            compete(systems, runs, EFFORT, partial(work, most=most), pool)
        table = tabulate(rows_by_system(systems, runs.finished, EFFORT), runs.finished, EFFORT)
        return [table[0], [row[:-2] for row in table[1]]]  # but for the seconds

    whole = board(tmp_path / "whole", False, 99)
    asked = list(done)
    assert len(asked) == len(set(asked)) == 5
    done.clear()
    with pytest.raises(KeyboardInterrupt):
        board(tmp_path / "cut", False, 2)
    with pytest.raises(ValueError, match="--resume"):
        Runs(tmp_path / "cut", recipe, resume=False)
    assert board(tmp_path / "cut", True, 99) == whole
    assert sorted(map(repr, done)) == sorted(map(repr, asked))  # nothing twice
    assert board(tmp_path / "cut", True, 0) == whole  # all that it needs is on disk
    losses = {run["seed"]: run["validation_loss"] for run in Runs(tmp_path / "cut", recipe, True).finished.values()}
    assert losses[0] != losses[1]
    stored = json.loads(next((tmp_path / "cut").glob("lattice_*seed1*.json")).read_text(encoding="utf-8"))
    assert stored["machine"]["torch"] == torch.__version__
    assert stored["system"] == LATTICE and stored["seed"] == 1 and stored["rate"] == 2e-3
    assert len(stored["trials"]["4x4"]["lost"]) == 10


def test_runs_of_another_recipe_do_not_count(tmp_path: Path) -> None:
    Runs(tmp_path, "aaaa", False).add(Job("GRU", 1, 2e-3), {"trials": {}})
    assert not Runs(tmp_path, "bbbb", False).finished
    assert list(Runs(tmp_path, "aaaa", True).finished) == [Job("GRU", 1, 2e-3)]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_recipe_follows_what_a_run_is_of(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = recipe_of(tiny, "", EFFORT)
    assert recipe_of(tiny, "", Effort(grid=(1e-3,), seeds=9)) == first  # how many runs there are changes none of them
    assert recipe_of(tiny, "", Effort(part=0.5)) != first
    monkeypatch.setitem(CONTESTS, "tiny", Contest("maze", TINY.recipe, steps=4))
    assert recipe_of(tiny, "", EFFORT) != first


def test_no_run_is_started_that_would_end_too_late(tmp_path: Path) -> None:
    runs, effort = Runs(tmp_path, "aaaa", False), Effort()
    runs.add(
        Job("GRU", 0, 1e-3, whole=False), finish([Job("GRU", 0, 1e-3)])[Job("GRU", 0, 1e-3)] | {"whole_seconds": 60}
    )
    assert expected(Job("GRU", 0, 2e-3, whole=False), runs.finished, effort) == 60
    assert expected(Job("GRU", 0, 2e-3), runs.finished, effort) == pytest.approx(180)
    with ThreadPoolExecutor(1) as pool:
        left = compete(["GRU"], runs, effort, pytest.fail, pool, until=time.monotonic() + 30)
    assert [job.rate for job in left] == [2e-3, 4e-3]


def test_a_training_that_fails_leaves_no_row(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise FloatingPointError("step 2: the loss is nan")

    monkeypatch.setattr("benchmarks.learning.board.work.train", fails)
    job = Job("GRU", 0, 2e-3)
    outcome = run(job, None, tiny, "", EFFORT)
    assert outcome["validation_loss"] is None
    assert rows_by_system(["GRU"], {job: outcome}, EFFORT) == {}


def test_every_contest_has_a_recipe_that_its_data_takes() -> None:
    for name, contest in CONTESTS.items():
        assert contest.task is None or contest.task in TASKS
        names = [trial.name for trial in contest.trials]
        assert len(names) == len(set(names)), name
        EnergyConfig.from_dict(
            {**contest.recipe, "sites": (4, 4), "input_embedding_dim": 64, "output_embedding_dim": 64}
        )


@pytest.mark.parametrize("name", ["delivery", "sudoku-6", "maze"])
def test_every_network_has_as_many_parameters_as_the_lattice(name: str) -> None:
    contest = CONTESTS[name]
    assert contest.task is not None
    drawn = make_task(contest.task, 4, 4)
    config = EnergyConfig.from_dict({**contest.recipe, **data_settings(drawn)})
    wanted = count_parameters(create_processor(config))
    for system in SYSTEMS.values():
        if system.network in NETWORKS and system.by == "parameters":
            found = count_parameters(build(system, contest, config, torch.randn(2, config.input_embedding_dim), None))
            assert found == pytest.approx(system.times * wanted, rel=0.05), system.name


@pytest.mark.parametrize(("name", "network"), [("rotation", ResidualMLP), ("maze", WindowMLP)])
def test_an_mlp_sees_whole_rows_where_all_have_one_size(name: str, network: type) -> None:
    contest = CONTESTS[name]
    assert contest.task is not None
    config = EnergyConfig.from_dict({**contest.recipe, **data_settings(make_task(contest.task, 4, 4))})
    rows = torch.randn(2, config.input_embedding_dim)
    assert isinstance(build(SYSTEMS["residual MLP"], contest, config, rows, None).inside, network)


def test_networks_may_loop_more_often_than_the_lattice() -> None:
    """Where it needs two steps, a convolution would not even see the whole face."""
    contest = CONTESTS["delivery"]
    assert contest.recipe["initial_steps"] == 2
    drawn = make_task("delivery", 4, 4)
    config = EnergyConfig.from_dict({**contest.recipe, **data_settings(drawn), **contest.rivals})
    assert course_of((4, 4), config)[:3] == ((4, 4), 16, 8)


def test_systems_that_need_one_size_stay_away_from_several() -> None:
    apart = [name for name, system in SYSTEMS.items() if not system.fits(CONTESTS["maze"], equal_widths=False)]
    assert apart == ["input itself", "Procrustes", "linear"]
    assert SYSTEMS["input itself"].fits(CONTESTS["rotation"], equal_widths=True)
    assert not SYSTEMS["input itself"].fits(CONTESTS["rotation"], equal_widths=False)
