"""What a device refuses is said in one line, or costs a figure and no run."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from energy_flow.core import Execution, create_processor
from energy_flow.text import generator
from energy_flow.training import EnergyTrainer
from energy_flow.training.execution_plan import plan_execution
from energy_flow.training.run.checkpoint_files import _random_states
from energy_flow.utils import DeviceManager, device_manager

from .test_training import SMALL, data


def test_nvml_that_refuses_costs_the_figure_alone(monkeypatch, caplog) -> None:
    caplog.set_level("INFO", "energy_flow")
    devices, asked = DeviceManager("cpu"), []
    devices.device = torch.device("cuda", 0)

    def refuse(device):
        asked.append(device)
        raise type("NVMLError", (Exception,), {})("Driver/library version mismatch")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "pynvml")
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    assert [devices.utilization() for _ in range(3)] == [None] * 3
    assert len(asked) == 1
    assert "Driver/library version mismatch" in caplog.text


def broken_compiler(*_, **__):
    raise subprocess.CalledProcessError(1, ["gcc", "main.c"])


def test_a_compiler_that_fails_is_tried_once_and_left_out_or_named(monkeypatch) -> None:
    tries: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda *_, **__: tries.append(1) or broken_compiler)
    monkeypatch.setattr("shutil.which", lambda name: name)
    device_manager._compile_fault.cache_clear()
    try:
        devices = DeviceManager("cpu", "float32")
        for _ in range(2):
            with pytest.raises(ValueError, match=r"compile = 'on': compiling a tiny function failed .*gcc.*Python.h"):
                plan_execution(SMALL.replace(compile="on"), devices, 1000, 8)
        assert len(tries) == 1
        plan = plan_execution(SMALL, devices, 1000, 8)
        assert (plan.execution.compiled, len(tries)) == (False, 1)
    finally:
        device_manager._compile_fault.cache_clear()


def test_graphs_of_micro_batches_are_refused_by_both_names() -> None:
    with pytest.raises(ValueError, match=r"accumulation = 2; compile = 'graphs' replays one batch a step"):
        SMALL.replace(compile="graphs", accumulation=2)


def test_a_run_on_the_cpu_asks_no_card_for_its_generators(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert set(_random_states(0, torch.device("cpu"))) == {"cpu"}


def test_training_uses_parts_that_were_replaced_hooked_and_frozen_before() -> None:
    model, seen = create_processor(SMALL), []
    model.carrier.register_forward_hook(lambda *_: seen.append(1))
    model.neuron.requires_grad_(False)
    model.mapper = type(model.mapper)(SMALL)
    before = [weight.clone() for weight in (*model.neuron.parameters(), *model.mapper.parameters())]
    EnergyTrainer(model, SMALL).fit(data())
    after = [*model.neuron.parameters(), *model.mapper.parameters()]
    frozen = len(list(model.neuron.parameters()))
    assert all(map(torch.equal, before[:frozen], after[:frozen]))
    assert not any(map(torch.equal, before[frozen:], after[frozen:]))
    assert seen


def test_a_part_that_comes_after_the_optimizer_is_refused() -> None:
    trainer = EnergyTrainer(create_processor(SMALL), SMALL)
    trainer.processor.neuron.project = nn.Linear(64, 128)
    with pytest.raises(ValueError, match=r"neuron.project.weight came to the model, .*then build EnergyTrainer"):
        trainer.fit(data())


def test_a_new_prefix_seeds_no_generator_but_its_own(monkeypatch) -> None:
    words = SimpleNamespace(weight=torch.randn(5, 4))
    model = SimpleNamespace(requires_grad_=lambda on: None, get_input_embeddings=lambda: words)
    monkeypatch.setattr(generator, "_load_language_model", lambda folder: (model, None))
    seeded: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", seeded.append)  # this one seeds the generators of every card
    before = torch.get_rng_state()
    one, other = (generator.TextGenerator("folder", 3).prefix.weight for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert not seeded


def test_out_of_memory_gives_graphs_up_before_it_takes_micro_batches(caplog) -> None:
    config = SMALL.replace(checkpointing="off")
    trainer = EnergyTrainer(create_processor(config), config)
    trainer.processor.execute(Execution(compiled=True, graphed=True, row_bucket=64))
    trainer._step._save_memory(8)
    assert trainer.processor.execution == Execution(compiled=True)
    assert trainer._step.micro_batches == 2
    assert "no CUDA graphs from now on" in caplog.text
