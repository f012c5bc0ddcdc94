"""The budget that follows the useful flows: its rule, its bounds, and that a run that was cut has the same ones."""

from __future__ import annotations

import pytest
import torch

from energy_flow.config import create_config
from energy_flow.core import create_processor
from energy_flow.training import EnergyTrainer
from energy_flow.training.execution_plan import most_flows
from energy_flow.training.flow_budget import FlowBudget
from energy_flow.utils import DeviceManager
from energy_flow.utils.device_manager import MemoryReport

from .strategies import build_model
from .test_laws import BUSY
from .test_resume import CutAt, config, data

SPLITTING = {"max_active_flows": 30, "max_spawn_per_step": 20, "spawn_threshold": 0.2, "energy_threshold": 0.05}


@pytest.mark.parametrize(
    ("useful", "refused", "expected"),
    [(0.95, 3.0, 111), (0.95, 0.0, 100), (0.7, 3.0, 100), (0.5, 0.0, 90), (0.5, 3.0, 90)],
)
def test_budget_follows_the_share_of_useful_flows(useful: float, refused: float, expected: int) -> None:
    budget = FlowBudget(100)
    for _ in range(4):
        budget.observe({"arrived_share": useful, "refused": refused})
    words = budget.adapt(least=10, most=1000)
    assert budget == FlowBudget(expected)
    assert ("instead of 100" in words) == (expected != 100)


def test_budget_stays_between_launch_and_memory() -> None:
    budget = FlowBudget(100)
    for share, expected in ((1.0, 104), (1.0, 104), (0.1, 95), (0.1, 95)):
        budget.observe({"arrived_share": share, "refused": 1.0})
        budget.adapt(least=95, most=104)
        assert budget.flows == expected


def test_budget_fits_the_memory_there_is(monkeypatch) -> None:
    settings, devices = create_config("optimized", precision="bfloat16"), DeviceManager("cpu", "bfloat16")
    found = []
    for gib in (1, 15, 16, 200):
        monkeypatch.setattr(devices, "memory", lambda gib=gib: MemoryReport(0, 0, gib * 2**30))
        found.append(most_flows(settings, devices, 16_000_000, 32, checkpointed=False))
    assert found[0] == settings.num_sites
    assert settings.num_sites < found[1] < found[2] < settings.max_active_flows
    assert found[3] == settings.max_active_flows


def test_fewer_flows_live_in_training_alone() -> None:
    processor = build_model(BUSY, seed=2)
    inputs = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    everyone = processor.run(inputs)
    processor.limit_training_flows(8)
    assert int(everyone.stats.live.max()) == BUSY.max_active_flows
    assert int(processor.run(inputs).stats.live.max()) == 8
    processor.eval()
    assert torch.equal(processor.run(inputs).output, everyone.output)
    for flows in (5, 15):
        with pytest.raises(ValueError, match=f"flows = {flows}; give a number from 6.*max_active_flows = 14"):
            processor.limit_training_flows(flows)


class Budgets:
    """Notes the budget of every step."""

    def __init__(self) -> None:
        self.of: dict[int, float] = {}

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records) -> None:
        self.of.update({record["step"]: record["most_flows"] for record in records})

    def validate(self, record, examples) -> None:
        pass

    def close(self) -> None:
        pass


def train(run, *observers, **changes) -> EnergyTrainer:
    settings = config(**SPLITTING | {"adaptive_budget": True, "checkpoint_every": 5} | changes)
    trainer = EnergyTrainer(create_processor(settings), settings, run, observers=observers, resume_from="auto")
    trainer.fit(data())
    return trainer


def test_resume_has_the_same_budgets_however_it_is_watched(tmp_path, monkeypatch, caplog) -> None:
    """Cut between two looks and seen through another log_every, a run ends with the same bits."""
    monkeypatch.setattr("energy_flow.training.learner.ADAPT_EVERY", 3)
    monkeypatch.setattr("energy_flow.training.flow_budget.USEFUL", 2.0)
    monkeypatch.setattr("energy_flow.training.flow_budget.USELESS", 1.1)  # every look takes a tenth away
    whole, cut = Budgets(), Budgets()
    caplog.set_level("INFO")
    first = train(tmp_path / "whole", whole)
    assert list(whole.of.values()) == [30, 30, 30, 27, 27, 27, 24, 24, 24, 21, 21, 21]
    assert "budget of flows: 27 instead of 30, as " in caplog.text
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", cut, CutAt(8))
    second = train(tmp_path / "cut", cut, log_every=1)
    assert cut.of == whole.of
    for one, two in zip(first.processor.parameters(), second.processor.parameters(), strict=True):
        assert torch.equal(one, two)
