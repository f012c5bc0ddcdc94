"""Outputs that are zero or not finite are no hit, in every place that ranks; and ranks where there are no texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from energy_flow.data import PairData, PairSet, TextBank
from energy_flow.training import Judge, measure, metrics
from energy_flow.training.retrieval import Retrieval, can_rank, retrieval_figures, retrieval_intervals

BROKEN = [0.0, torch.nan, torch.inf]


@pytest.fixture
def bank() -> TextBank:
    rows = F.normalize(torch.randn(300, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    return TextBank([f"t{row}" for row in range(300)], rows, [frozenset({f"g{row // 2}"}) for row in range(300)])


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 20)


def texts_of(bank: TextBank, count: int) -> PairSet:
    return PairSet(bank.embeddings[:count], bank.embeddings[:count], target_texts=list(bank.texts[:count]))


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("hubs", [False, True])
def test_outputs_without_direction_hit_nothing(bank, broken: float, hubs: bool) -> None:
    pairs = texts_of(bank, 40)
    judge = Judge(bank, torch.randn(30, 8) if hubs else None)
    nothing = judge.measure(torch.full((40, 8), broken), pairs)
    assert (nothing.acc_1, nothing.acc_10, nothing.acc_100, nothing.synonym_acc_1) == (0, 0, 0, 0)
    assert (nothing.median_rank, nothing.no_direction) == (300, 1)
    half = torch.cat((torch.full((20, 8), broken), bank.embeddings[20:40]))
    some = judge.measure(half, pairs)
    assert some.acc_100 == 0.5 and some.no_direction == 0.5
    assert judge.confidence_intervals(half, pairs)["no_direction"][1] < 1
    assert judge.measure(pairs.targets, pairs).no_direction is None
    assert Judge(bank, miss=1000).ranks(half, pairs)[:20].eq(1000).all()


def test_the_first_text_of_the_bank_is_no_hit_for_zeros(bank) -> None:
    zeros = torch.zeros(1, 8)
    first, last = texts_of(bank, 1), PairSet(zeros + 1, zeros + 1, target_texts=["t299"])
    for pairs in (first, last):  # the last one's group must not be taken for that of what is not found
        figures = Judge(bank).measure(zeros, pairs)
        assert (figures.acc_100, figures.synonym_acc_1) == (0, 0)


def test_small_banks_have_no_hits_for_zeros_either() -> None:
    bank = TextBank(["a", "b"], torch.eye(2))
    pairs = PairSet(torch.eye(2), torch.eye(2), target_texts=["a", "b"])
    figures = Judge(bank).measure(torch.zeros(2, 2), pairs)
    assert (figures.acc_1, figures.acc_10, figures.acc_100) == (0, 0, 0)


def test_a_constant_output_gains_nothing_from_ties() -> None:
    bank = TextBank([f"t{row}" for row in range(20)], torch.eye(20))
    pairs = PairSet(torch.eye(20), torch.eye(20), target_texts=bank.texts)
    figures = Judge(bank).measure(torch.ones(20, 20), pairs)
    assert (figures.acc_1, figures.acc_10, figures.median_rank) == (0, 0, 19)


def test_best_weights_are_never_those_that_give_zeros(bank) -> None:
    from energy_flow.training.run.run_state import EpochReport, RunState

    pairs, judge = texts_of(bank, 40), Judge(bank)
    dead = EpochReport(1, 0.1, 0.1, judge.measure(torch.zeros(40, 8), pairs), 1)
    alive = EpochReport(2, 0.1, 0.1, judge.measure(bank.embeddings[:40] + torch.randn(40, 8), pairs), 2)
    lost = EpochReport(3, 0.1, 0.1, judge.measure(torch.full((40, 8), math.nan), pairs), 3)
    for by in ("acc_1", "acc_10", "acc_100", "median_rank", "cosine"):
        assert RunState(3, "", reports=[dead, lost, alive]).best(by) is alive, by


def test_a_look_says_that_outputs_have_no_direction(caplog) -> None:
    import logging

    from .resume_worker import data
    from .test_run_goes_on import trainer_of

    trainer = trainer_of(None, epochs=1)
    with torch.no_grad():
        for name, weight in trainer.processor.named_parameters():
            if "mapper" in name:
                weight.zero_()
                weight.requires_grad_(False)
    logging.getLogger("energy_flow").propagate = True
    with caplog.at_level(logging.WARNING, "energy_flow"):
        trainer.fit(data())
    assert "100.00% of the validation outputs are zero or not finite" in caplog.text


def test_ranks_among_targets_equal_brute_force() -> None:
    random = torch.Generator().manual_seed(1)
    targets = F.normalize(torch.randn(200, 6, generator=random), dim=1)
    targets[150:] = targets[:50]  # chunks that repeat: both rows of a target are right
    outputs = targets + 0.4 * torch.randn(200, 6, generator=random)
    retrieval = Retrieval(targets)
    different = np.unique(targets.double().numpy(), axis=0)
    scores = F.normalize(outputs.double(), dim=1).numpy() @ (different / np.linalg.norm(different, axis=1)[:, None]).T
    own = (F.normalize(outputs.double(), dim=1) * F.normalize(targets.double(), dim=1)).sum(1).numpy()
    ranks = (scores >= own[:, None] - 1e-6).sum(1) - 1
    assert len(retrieval) == 150
    np.testing.assert_array_equal(retrieval.ranks(outputs), ranks)
    figures = retrieval_figures(torch.from_numpy(ranks))
    assert figures["recall_10"] == (ranks < 10).mean()
    assert figures["ndcg_10"] == pytest.approx(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())
    low, high = retrieval_intervals(torch.from_numpy(ranks))["recall_10"]
    assert low < figures["recall_10"] < high


def test_what_cannot_be_ranked_is_known() -> None:
    assert can_rank(torch.eye(3))
    assert not can_rank(torch.ones(3, 3))
    assert not can_rank(torch.eye(3) * torch.tensor([[1.0], [0.0], [1.0]]))


def test_evaluate_ranks_vectors_among_the_targets(capsys, monkeypatch) -> None:
    from energy_flow.cli.report import print_scores

    monkeypatch.setattr("energy_flow.training.retrieval.RESAMPLES", 20)

    class Same:
        name, widths = "lattice", (6, 6)

        def __call__(self, inputs, box):
            rows = inputs.clone()
            rows[:3] = 0
            return rows

    rows = torch.randn(50, 6)
    pairs = PairSet(rows, rows)
    print_scores(Same(), PairData("vectors", pairs, pairs, pairs), pairs, "a title")  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert "recall@10" in printed and "nDCG@10" in printed
    assert "0.94" in printed  # three of fifty are no hit
    assert "among 50 different targets" in printed
    assert "lattice: 3 of 50 outputs are zero or not finite" in " ".join(printed.split())


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_figures_of_directions_do_not_depend_on_the_length(scale: float) -> None:
    outputs, targets = torch.randn(20, 6), torch.randn(20, 6)
    plain = measure(outputs, PairSet(outputs, targets))
    scaled = measure(outputs * scale, PairSet(outputs, targets * scale))
    for name in ("cosine", "centred_cosine"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), abs=1e-5)
    assert math.isfinite(scaled.mse)
