"""The engine on CUDA against the engine on the CPU, which the slow twin holds."""

from __future__ import annotations

import math

import pytest
import torch

from energy_flow.analysis import Trace
from energy_flow.config import PRESETS, create_config
from energy_flow.core import Execution
from energy_flow.core import interventions as act
from energy_flow.core.execution import executor
from energy_flow.core.execution.dense import while_it_compiles
from energy_flow.core.execution.entry import numbers_of
from energy_flow.data import PairData, load_data
from energy_flow.data.pairs import pairs_of, parts_of
from energy_flow.data.sources import settings_with_room
from energy_flow.training import EnergyTrainer
from energy_flow.utils import DeviceManager

from .strategies import build_model
from .test_laws import BUSY
from .test_training import SMALL, create_processor, data

SPLITS = ("train", "validation", "test")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore"),  # torch's own, while it compiles and counts waits
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def test_cuda_equals_cpu_in_float64() -> None:
    results = []
    for device in ("cpu", "cuda"):
        processor = build_model(BUSY, seed=2).to(device)
        inputs = torch.randn(16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
        result = processor.run(inputs)
        result.output.sin().sum().backward()
        results.append([result.output.detach(), *(weight.grad for weight in processor.parameters())])
        counts = [getattr(result.stats, name).cpu() for name in ("live", "arrived", "faded", "spawned", "refused")]
        results[-1] += counts
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-9, atol=1e-11)


EXECUTIONS = {
    "compiled": Execution(compiled=True),
    "compiled and checkpointed": Execution(compiled=True, checkpointed=True),
    "graphed": Execution(compiled=True, graphed=True, row_bucket=64),
    "checkpointed": Execution(checkpointed=True),
}


@pytest.mark.parametrize("name", EXECUTIONS)
def test_cuda_runs_fast_paths_as_the_plain_one(name: str) -> None:
    """Three runs each, so that what a graph replays is not what it has recorded."""
    results = []
    for execution in (Execution(), EXECUTIONS[name]):
        processor = build_model(BUSY, seed=2).cuda()
        processor.execute(execution)
        found = []
        for seed in range(3):
            inputs = torch.randn(16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).cuda()
            processor.zero_grad()
            output = processor.run(inputs).output
            output.sin().sum().backward()
            found += [output.detach(), *(weight.grad for weight in processor.parameters())]
            with torch.no_grad():
                found.append(processor.run(inputs).output)
        results.append(found)
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-10)


def test_a_step_waits_once_for_the_device() -> None:
    """Every operation that waits is an error, but in the one function that reads two counts."""
    processor = build_model(BUSY, seed=2, dtype=torch.float32).cuda()
    inputs = torch.randn(16, 12, generator=torch.Generator().manual_seed(0)).cuda()
    processor.run(inputs)
    waits = []

    def counted(*arguments):
        torch.cuda.set_sync_debug_mode("default")
        waits.append(1)
        found = numbers_of(*arguments)
        torch.cuda.set_sync_debug_mode("error")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "numbers_of", counted)
        flows, steps = processor.launch(inputs), 0
        try:
            torch.cuda.set_sync_debug_mode("error")
            while flows.size:
                flows, steps = processor.step(flows).flows, steps + 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == steps > 3


def test_the_optimized_preset_trains_within_a_card_of_32_gb() -> None:
    """A card that is sold as one of 32 GB shows 31.4 to 31.8 GiB, of which the driver keeps some."""
    room, total = 30 * 2**30, torch.cuda.get_device_properties(0).total_memory
    if total < room:
        pytest.skip(f"needs a card of 30 GiB, this one has {total / 2**30:.1f}")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        config = create_config("optimized", epochs=1, warmup_steps=1)
        trainer = EnergyTrainer(create_processor(config), config, devices=DeviceManager("cuda"))
        rows = torch.nn.functional.normalize(torch.randn(64, 768))
        assert trainer.train(rows, rows, epochs=1).steps == 2
        assert trainer.devices.memory().peak < room
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_cuda_trains_in_bfloat16() -> None:
    config = SMALL.replace(precision="auto", epochs=5)
    trainer = EnergyTrainer(create_processor(config), config, devices=DeviceManager("cuda"))
    assert trainer.devices.precision == "bfloat16"
    result = trainer.fit(data())
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    assert trainer.devices.memory().peak > 0


@pytest.mark.parametrize(("preset", "task"), [("grid", "maze"), ("pointer", "delivery"), ("exchange", "sudoku-6")])
def test_a_run_on_a_card_reaches_its_end_and_is_judged(preset: str, task: str) -> None:
    """Compiled, over boxes of several sizes where the task has them, with a validation in the middle."""
    data = load_data(task)
    short = {part: pairs_of([one.subset(torch.arange(64)) for one in parts_of(getattr(data, part))]) for part in SPLITS}
    data = PairData(task, **short, task=task)
    config = create_config(preset, **settings_with_room(PRESETS[preset], data), batch_size=32, epochs=2, warmup_steps=1)
    trainer = EnergyTrainer(create_processor(config), config, devices=DeviceManager("cuda"))
    result = trainer.fit(data)
    assert trainer.processor.execution.compiled
    assert not while_it_compiles.failed
    assert len(result.epochs) == 2
    assert math.isfinite(result.epochs[-1].train_loss)


HANDS = [
    act.BlockPlanes([4], otherwise="straight", samples=[1]),
    act.BlockCells([[2, 2, 3], [1, 1, 2]]),
    act.BlockEdges([[0, 0, 1, 1], [1, 0, 1, 1]]),
    act.Kill(flows=[3], steps=[2]),
    act.Freeze(flows=[1]),
    act.GoStraight(flows=[2]),
    act.Redirect([[3, 3]], flows=[4], steps=[2]),
    act.AddNoise(0.2),
    act.SwapEnergies([1, 0, 3, 2], steps=[3]),
]


def test_interventions_on_a_card_are_those_of_the_cpu() -> None:
    results = []
    for device in ("cpu", "cuda"):
        processor = build_model(BUSY, seed=2).to(device)
        inputs = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
        plain = processor.run(inputs, record=("energy", "gate", "children"))
        result = processor.run(
            inputs, record=True, intervene=[*HANDS, act.Replay(plain.trace, [1, 2, 3, 0], flows=[5])]
        )
        result.output.sin().sum().backward()
        trace = Trace.of(plain, BUSY)
        results.append([result.output.detach(), *(weight.grad for weight in processor.parameters())])
        details = [trace.energy, trace.gate.nan_to_num(), trace.shares, trace.refused]
        results[-1] += [*details, trace.position, result.stats.faded]
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-9, atol=1e-10)
