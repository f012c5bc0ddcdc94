"""Every way to run the dense part against the same laws, the slow twin, and itself: padded, checkpointed, compiled."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from energy_flow.config import Box, create_config
from energy_flow.core import Execution, create_processor
from energy_flow.core.execution import dense, executor
from energy_flow.core.execution.cost import kept_bytes
from energy_flow.core.execution.dense import compiled_update
from energy_flow.training import EnergyTrainer
from energy_flow.training.execution_plan import expected_bytes, plan_execution
from energy_flow.utils import DeviceManager
from energy_flow.utils.device_manager import MemoryReport

from . import test_laws, test_reference
from .strategies import build_model, cases
from .test_any_box import GRID
from .test_laws import BUSY
from .test_training import SMALL, data

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="torch.compile needs a C++ compiler"
)
compiling = pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
LAWS = {name: law.hypothesis.inner_test for name, law in vars(test_laws).items() if hasattr(law, "hypothesis")} | {
    "test_engine_equals_reference": test_reference.check_against_reference
}
FADING = BUSY.replace(energy_threshold=2.0, spawn_threshold=2.1)
EAGER = st.sampled_from(
    [Execution(checkpointed=True), Execution(row_bucket=8), Execution(checkpointed=True, row_bucket=8)]
)
COMPILED = st.sampled_from([Execution(compiled=True), Execution(compiled=True, checkpointed=True, row_bucket=8)])


def hold(law, examples: int, strategy: st.SearchStrategy) -> None:
    """A law, as a plain function of a case (and of a shuffler), over cases of a strategy."""
    arguments = {"case": strategy}
    if "random" in law.__code__.co_varnames[: law.__code__.co_argcount]:
        arguments["random"] = st.randoms(use_true_random=False)
    rules = settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    rules(given(**arguments)(law))()


@pytest.mark.parametrize("name", LAWS)
def test_laws_hold_padded_and_checkpointed(name: str) -> None:
    hold(LAWS[name], 8, cases(executions=EAGER))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_laws_hold_in_many_cases(name: str) -> None:
    hold(LAWS[name], 120, cases())


@pytest.mark.slow
@needs_compiler
@compiling
@pytest.mark.parametrize("name", LAWS)
def test_laws_hold_compiled(name: str) -> None:
    """One configuration, since each is compiled anew; weights and batches vary."""
    hold(LAWS[name], 10, cases(configurations=st.just(BUSY), executions=COMPILED))


def outputs_and_gradients(execution: Execution, dtype: torch.dtype, autocast: bool = False) -> list[torch.Tensor]:
    processor = build_model(FADING, seed=2, dtype=dtype)
    processor.execute(execution)
    inputs = torch.randn(8, 12, dtype=dtype, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = processor.run(inputs)
    assert int(result.stats.spawned.sum()) > 0
    assert int(result.stats.faded.sum()) > 0
    result.output.sin().sum().backward()
    return [result.output.detach(), *(weight.grad for weight in processor.parameters())]


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(executions=st.sampled_from([Execution(), Execution(row_bucket=8)])))
def test_slots_reused_in_place_change_nothing(case) -> None:
    """Without gradients the states live in the pool's slots; with gradients they are functions of each other."""
    processor, inputs = case.build()
    functional = processor.run(inputs, record=True)
    with torch.no_grad():
        in_place = processor.run(inputs, record=True)
    for ours, theirs in zip(
        (in_place.output, *in_place.stats, *in_place.trace),
        (functional.output, *functional.stats, *functional.trace),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


class Allocations(TorchDispatchMode):
    """Counts new storages of at least one row of hidden states, by the operation that made them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.made = width, Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in given:
                self.made[str(func)] += leaf.numel() > 0 and leaf.shape[-1:] in ((self.width,), (3 * self.width,))
        return result


def test_steps_without_gradients_allocate_no_states() -> None:
    """After the launch, all that is as wide as a hidden state and new is the output of the heads' norm."""
    processor = build_model(BUSY.replace(carrier_hidden_size=101, max_spawn_per_step=0), seed=2, dtype=torch.float32)
    inputs = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Allocations(101) as seen:
        steps = processor.run(inputs).stats.steps
    assert steps > 3
    norms = seen.made.pop("aten.native_layer_norm.default")
    assert norms == steps
    assert sum(seen.made.values()) <= 4, f"slots, products and the launch: {seen.made}"


@pytest.mark.parametrize("autocast", [False, True])
def test_checkpointing_changes_no_bit(autocast: bool) -> None:
    kept = outputs_and_gradients(Execution(), torch.float32, autocast)
    again = outputs_and_gradients(Execution(checkpointed=True), torch.float32, autocast)
    assert all(map(torch.equal, kept, again))


@pytest.mark.slow
@needs_compiler
@compiling
def test_compiled_equals_eager_in_float32() -> None:
    eager, compiled = (outputs_and_gradients(Execution(compiled=compiled), torch.float32) for compiled in (False, True))
    for one, two in zip(eager, compiled, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4 * max(1.0, float(one.abs().max())))


@needs_compiler
@compiling
@pytest.mark.slow
def test_nothing_recompiles_after_the_warm_up(monkeypatch) -> None:
    """Two epochs warm up, with their validations; in the next, flows die and are born, and nothing is compiled."""
    config = SMALL.replace(
        compile="on", epochs=4, spawn_threshold=0.3, energy_threshold=0.2, lattice_depth=8, initial_steps=6
    )
    trainer = EnergyTrainer(build_model(config, seed=1, dtype=torch.float32), config)
    compiled: list[int] = []
    rows: set[int] = set()
    inner = trainer._loop._run_epoch

    def counted(*arguments):
        inner(*arguments)
        compiled.append(counters["stats"]["unique_graphs"])

    run = trainer.processor.run

    def watched(inputs, **options):
        result = run(inputs, **options)
        rows.update(result.stats.live.sum(1).tolist())
        return result

    monkeypatch.setattr(trainer._loop, "_run_epoch", counted)
    monkeypatch.setattr(trainer.processor, "run", watched)
    before = counters["stats"]["unique_graphs"]
    trainer.fit(data())
    assert trainer.processor.execution.compiled
    assert compiled[0] > before, "nothing was compiled at all"
    assert compiled[1] == compiled[3]
    assert len(rows) > 10, f"the number of rows hardly changed: {sorted(rows)}"
    assert not counters["graph_break"]


@needs_compiler
@compiling
def test_what_cannot_be_compiled_is_an_error_and_no_silent_fallback(monkeypatch) -> None:
    processor = create_processor(BUSY)
    processor.execute(Execution(compiled=True))
    monkeypatch.setattr(processor.neuron, "forward", lambda features: (torch._dynamo.graph_break(), features)[1])
    with pytest.raises(torch._dynamo.exc.Unsupported):
        processor(torch.ones(1, 12))
    assert compiled_update() is compiled_update()


@pytest.mark.slow
@needs_compiler
@compiling
def test_graphed_equals_eager() -> None:
    """Without a card nothing is recorded, but all the rest is as with one: rows padded, a step marked for each run."""
    eager = outputs_and_gradients(Execution(), torch.float64)
    graphed = outputs_and_gradients(Execution(compiled=True, graphed=True, row_bucket=256), torch.float64)
    for one, two in zip(eager, graphed, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9 * max(1.0, float(one.abs().max())))


def test_graphs_want_a_card() -> None:
    with pytest.raises(
        ValueError, match="compile = 'graphs': CUDA graphs need a CUDA card, this is cpu; give on or off"
    ):
        plan_execution(SMALL.replace(compile="graphs"), DeviceManager("cpu", "float32"), 1000, 8)


def test_compile_is_refused_or_left_out_aloud_where_it_cannot_be(monkeypatch) -> None:
    devices = DeviceManager("cpu", "float32")
    monkeypatch.setattr(devices, "compiler_missing", lambda: "no C++ compiler was found")
    with pytest.raises(ValueError, match="compile = 'on': no C.. compiler was found; install it, or give auto or off"):
        plan_execution(SMALL.replace(compile="on"), devices, 1000, 8)
    monkeypatch.setattr(devices, "device", torch.device("cuda"))
    monkeypatch.setattr(devices, "memory", lambda: MemoryReport(0, 0, 2**35))
    plan = plan_execution(SMALL, devices, 1000, 8)
    assert not plan.execution.compiled
    assert "not compiled: no C++ compiler was found" in plan.reason


def test_checkpointing_goes_by_the_memory_there_is(monkeypatch) -> None:
    config, devices = create_config("optimized", precision="bfloat16"), DeviceManager("cpu", "bfloat16")
    needed = expected_bytes(config, 2, 16_000_000, 32, checkpointed=False)
    assert expected_bytes(config, 2, 16_000_000, 32, checkpointed=True) < needed / 4
    for total, expected in ((needed * 2, False), (needed, True), (None, False)):
        monkeypatch.setattr(devices, "memory", lambda total=total: MemoryReport(0, 0, total))
        assert plan_execution(config, devices, 16_000_000, 32).execution.checkpointed == expected
        for wish in ("on", "off"):
            asked = plan_execution(config.replace(checkpointing=wish), devices, 16_000_000, 32)
            assert asked.execution.checkpointed == (wish == "on")
    assert plan_execution(config, devices, 1, 1).execution.row_bucket == 64


@pytest.mark.slow
@pytest.mark.parametrize("checkpointed", [False, True])
def test_kept_bytes_are_what_is_kept(checkpointed: bool) -> None:
    """The prediction against every storage alive after a forward pass; the launch keeps a little less."""
    from benchmarks.speed.activation_memory import measure

    config = create_config(
        "debug", carrier_hidden_size=256, initial_steps=9, precision="bfloat16", max_spawn_per_step=0
    )
    figures = measure(config, 4, checkpointed)
    measured = figures[-4]
    assert isinstance(measured, float)
    assert (
        0.8 * kept_bytes(config, 2, checkpointed, gathered=False)
        < measured
        < 1.1 * kept_bytes(config, 2, checkpointed, gathered=False)
    )


def test_an_execution_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Execution().compiled = True


def test_the_compiler_never_sees_as_many_rows_as_a_weight_has(monkeypatch) -> None:
    """On a card it makes such a number of rows a constant, and then refuses it, since rows were said to vary."""
    seen: list[int] = []

    def watched(graphed: bool):
        def update(neuron, carrier, weights, features, energy, place, hidden):
            seen.append(features.shape[0])
            return dense.plain_update(neuron, carrier, weights, features, energy, place, hidden)

        return update

    monkeypatch.setattr(executor, "compiled_update", watched)
    processor = build_model(BUSY.replace(neuron_hidden_dim=36, carrier_hidden_size=18), 2)
    sizes = {36, 18, 54}  # the neuron's, the carrier's, and its gates
    for bucket in (1, 18):
        processor.execute(Execution(compiled=True, row_bucket=bucket))
        for batch in (3, 6, 9):
            inputs = torch.randn(batch, 12, dtype=torch.float64)
            result = processor.run(inputs).output
            assert not sizes & set(seen)
            processor.execute(Execution())
            torch.testing.assert_close(result, processor.run(inputs).output)
            processor.execute(Execution(compiled=True, row_bucket=bucket))
    assert min(seen) >= 8


@pytest.mark.slow
@needs_compiler
@compiling
def test_boxes_of_many_depths_share_what_is_compiled() -> None:
    processor = build_model(GRID, 2)
    processor.execute(Execution(compiled=True))
    inputs = torch.randn(2, 12, dtype=torch.float64)
    before = counters["stats"]["unique_graphs"]
    for depth in range(5, 15):
        processor.run(inputs, box=Box(3, 2, depth)).output.sum().backward()
    assert 0 < counters["stats"]["unique_graphs"] - before <= 4


@needs_compiler
@compiling
def test_a_compiler_that_fails_ends_no_run_under_auto(monkeypatch) -> None:
    def refuse(graphed: bool):
        raise torch._dynamo.exc.FailOnRecompileLimitHit("too many forms\nand a long story")

    monkeypatch.setattr(dense, "compiled_update", refuse)
    monkeypatch.setattr(dense.while_it_compiles, "failed", False)
    results, said = [], []
    for execution in (Execution(), Execution(compiled=True, on_failure=said.append)):
        processor = build_model(BUSY, 2)
        processor.execute(execution)
        results.append(processor.run(torch.ones(3, 12, dtype=torch.float64)).output)
    torch.testing.assert_close(results[1], results[0])
    assert said == ["too many forms"]
    monkeypatch.setattr(executor, "compiled_update", refuse)
    processor.execute(Execution(compiled=True))
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        processor.run(torch.ones(3, 12, dtype=torch.float64))
