"""The laws of the physics, over random configurations. Each was seen red once (LOG)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import Flows, Place, create_processor
from energy_flow.core.flows import ARRIVED, FADED, MOVING
from energy_flow.core.splitting import count_per_sample

from .strategies import Case, build_model, cases

law = settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
BUSY = EnergyConfig(
    lattice_width=6,
    lattice_height=5,
    lattice_depth=7,
    sites=(3, 2),
    input_embedding_dim=12,
    output_embedding_dim=12,
    energy_dim=4,
    max_active_flows=14,
    max_spawn_per_step=4,
    spawn_threshold=0.4,
    energy_threshold=0.05,
    initial_steps=6,
    carrier_hidden_size=8,
    carrier_num_layers=2,
    neuron_hidden_dim=6,
    neuron_output_dim=5,
)


def walk(case: Case):
    """Every step of a run: the flows before it, and its result."""
    processor, inputs = case.build()
    flows = processor.launch(inputs)
    while flows.size:
        result = processor.step(flows)
        yield flows, result
        flows = result.flows


@law
@given(cases())
def test_ledger_balances(case: Case) -> None:
    processor, inputs = case.build()
    stats = processor.run(inputs).stats
    created = stats.launched + stats.spawned.sum(0)
    assert torch.equal(created, stats.arrived.sum(0) + stats.faded.sum(0))
    launched_mass = torch.full_like(stats.arrived_mass, case.config.num_sites)
    torch.testing.assert_close(stats.arrived_mass + stats.faded_mass, launched_mass, rtol=0, atol=1e-6)


@law
@given(cases())
def test_split_conserves_energy_and_mass(case: Case) -> None:
    processor, _ = case.build()
    for flows, result in walk(case):
        state = processor.lattice.perceive(flows)
        signals = processor.neuron(processor.neuron.compute_features(flows.position, flows.energy, state))
        toward = processor.carrier.rule.toward(flows, state.site)
        unsplit = processor.carrier(
            signals, flows.energy, flows.hidden, Place(flows.position, processor.lattice, toward)
        )[0].energy_value
        before = torch.zeros(flows.batch, unsplit.shape[1] + 1, dtype=torch.float64)
        before.index_add_(0, flows.sample, torch.cat((unsplit, flows.mass[:, None]), dim=1))
        after = torch.zeros_like(before)
        for part in (result.moved, result.children):
            after.index_add_(0, part.sample, torch.cat((part.energy, part.mass[:, None]), dim=1))
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)


@law
@given(cases())
def test_every_flow_moves_forward_and_stays_inside(case: Case) -> None:
    config = case.config
    for flows, result in walk(case):
        assert result.moved.size == flows.size
        assert torch.all(result.moved.position[:, 2] >= flows.position[:, 2] + 1)
        extent = torch.tensor([config.lattice_width, config.lattice_height, config.lattice_depth]) - 1
        assert torch.all((result.moved.position >= 0) & (result.moved.position <= extent))
        inside = result.moved.position[result.outcome == MOVING]
        assert torch.equal(inside, inside.round())
        assert torch.all(inside[:, 2] < config.lattice_depth - 1)


@law
@given(cases())
def test_budget_holds_and_the_loop_ends(case: Case) -> None:
    config = case.config
    steps = 0
    for flows, result in walk(case):
        steps += 1
        assert int(count_per_sample(flows.sample, flows.batch).max()) <= config.max_active_flows
        assert int(count_per_sample(result.children.sample, flows.batch).max()) <= config.max_spawn_per_step
        per_parent = count_per_sample(result.children.sample * 1000 + result.children.parent_id, 1000 * flows.batch)
        assert int(per_parent.max()) <= config.max_children
    assert steps <= 2 * (config.lattice_depth - 1)


@law
@given(cases())
def test_children_do_not_split_in_their_first_step_and_ids_are_unique(case: Case) -> None:
    ids: set[tuple[int, int]] = set()
    newborn: set[tuple[int, int]] = set()
    for flows, result in walk(case):
        if not ids:
            ids = set(zip(flows.sample.tolist(), flows.flow_id.tolist(), strict=True))
        parents = set(zip(result.children.sample.tolist(), result.children.parent_id.tolist(), strict=True))
        assert not parents & newborn
        newborn = set(zip(result.children.sample.tolist(), result.children.flow_id.tolist(), strict=True))
        assert not newborn & ids
        ids |= newborn


@law
@given(cases())
def test_outcomes_follow_the_thresholds(case: Case) -> None:
    for _, result in walk(case):
        weak = result.moved.level < case.config.energy_threshold
        at_output = result.moved.position[:, 2] == case.config.lattice_depth - 1
        expected = torch.where(weak, FADED, torch.where(at_output, ARRIVED, MOVING))
        assert torch.equal(result.outcome, expected)
        assert torch.all(result.children.level >= case.config.energy_threshold)


@law
@given(cases(), st.randoms(use_true_random=False))
def test_samples_are_independent(case: Case, random) -> None:
    processor, inputs = case.build()
    generator = torch.Generator().manual_seed(case.seed)
    inputs = torch.cat((inputs, torch.randn(3, inputs.shape[1], generator=generator, dtype=torch.float64)))
    together, gradient = output_and_gradient(processor, inputs)
    order = list(range(len(inputs)))
    random.shuffle(order)
    shuffled, shuffled_gradient = output_and_gradient(processor, inputs[order])
    torch.testing.assert_close(shuffled, together[order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(shuffled_gradient, gradient[order], rtol=1e-9, atol=1e-12)
    for row in range(len(inputs)):
        alone, alone_gradient = output_and_gradient(processor, inputs[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(alone_gradient, gradient[row : row + 1], rtol=1e-9, atol=1e-12)


def output_and_gradient(processor, inputs):
    inputs = inputs.clone().requires_grad_()
    output = processor(inputs)
    return output.detach(), torch.autograd.grad(output.sin().sum(), inputs)[0]


@law
@given(cases())
def test_order_of_rows_does_not_matter(case: Case) -> None:
    processor, _ = case.build()
    for flows, result in walk(case):
        order = torch.randperm(flows.size, generator=torch.Generator().manual_seed(case.seed))
        shuffled = processor.step(flows.rows(order))
        assert_same_flows(shuffled.moved, result.moved.rows(order))
        assert_same_flows(sort_rows(shuffled.flows), sort_rows(result.flows))
        assert torch.equal(shuffled.refused, result.refused)


def sort_rows(flows: Flows) -> Flows:
    return flows.rows((flows.sample * 10_000 + flows.flow_id).argsort())


def assert_same_flows(ours: Flows, theirs: Flows) -> None:
    for name in Flows._fields:
        if getattr(theirs, name) is None:
            continue  # rows that are taken out leave behind what they aimed at
        torch.testing.assert_close(
            getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


SHALLOW = BUSY.replace(
    lattice_depth=2,
    initial_steps=1,
    input_embedding_dim=6,
    output_embedding_dim=6,
    energy_dim=2,
    carrier_hidden_size=4,
    neuron_hidden_dim=4,
    neuron_output_dim=3,
)
GRADCHECK = {
    "flows that perceive each other": SHALLOW.replace(max_children=0),
    "flows that split": SHALLOW.replace(sites=(1, 1), energy_dim=6, features="none", spawn_threshold=0.2),
}


@pytest.mark.parametrize("name", GRADCHECK)
def test_gradcheck_over_every_parameter(name: str) -> None:
    """Finite differences see what autograd sees where it is meant to: two cells deep no position is snapped, and no
    mass, which carries no gradient, changes an average."""
    config = GRADCHECK[name]
    processor = build_model(config, seed=4)
    names = [name for name, _ in processor.named_parameters()]
    inputs = torch.randn(2, config.input_embedding_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    stats = processor.run(inputs).stats
    assert int(stats.arrived.sum()) > 2
    assert bool(stats.spawned.any()) == (config.max_children > 0)

    def function(rows, *weights):
        return torch.func.functional_call(processor, dict(zip(names, weights, strict=True)), (rows,))

    weights = [weight.detach().clone().requires_grad_() for weight in processor.parameters()]
    assert torch.autograd.gradcheck(
        function, (inputs.requires_grad_(), *weights), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True
    )


def test_every_parameter_can_receive_a_gradient() -> None:
    processor = build_model(BUSY, seed=3)
    inputs = torch.randn(16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    processor(inputs).square().sum().backward()
    for name, weight in processor.named_parameters():
        assert weight.grad is not None, name
        dead = (weight.grad == 0).flatten(1).all(1) if weight.dim() > 1 else weight.grad == 0
        assert not bool(dead.any()), f"{name}: rows {dead.nonzero().flatten().tolist()} can never learn"
        if weight.dim() == 2:
            dead_inputs = (weight.grad == 0).all(0)
            assert not bool(dead_inputs.any()), (
                f"{name}: inputs {dead_inputs.nonzero().flatten().tolist()} are never seen"
            )


def test_movement_receives_a_sane_gradient() -> None:
    """Sideways movement must reach the output through the interpolation: within 100 times of the energy's gradient."""
    processor = create_processor(BUSY)
    inputs = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
    processor.mapper.calibrate(inputs, inputs)
    processor(inputs).sub(inputs.roll(1, dims=1)).square().mean().backward()
    gradient = processor.carrier.heads.weight.grad
    delta, sideways = gradient[4:8].abs().mean(), gradient[8:10].abs().mean()
    assert 0.01 < float(sideways / delta) < 100


@pytest.mark.parametrize("preset", ["tiny", "debug", "experiment", "optimized"])
def test_fresh_network_connects_the_faces(preset: str) -> None:
    config = create_config(preset, carrier_hidden_size=16, carrier_num_layers=1)
    processor = create_processor(config)
    inputs = torch.nn.functional.normalize(
        torch.randn(2, config.input_embedding_dim, generator=torch.Generator().manual_seed(0))
    )
    with torch.no_grad():
        result = processor.run(inputs)
    assert float(torch.cosine_similarity(result.output, inputs).min()) >= 0.99
    assert float(result.stats.coverage.min()) >= (
        1.0 if config.num_sites <= 64 else 0.9
    )  # few numbers in a chunk: some are weak
    assert float(result.stats.arrived_share.min()) > 0.5


def test_fresh_full_size_tiny_returns_its_input() -> None:
    config = create_config("tiny")
    inputs = torch.nn.functional.normalize(
        torch.randn(64, config.input_embedding_dim, generator=torch.Generator().manual_seed(0))
    )
    with torch.no_grad():
        result = create_processor(config).run(inputs)
    assert float(torch.cosine_similarity(result.output, inputs).min()) >= 0.99
    torch.testing.assert_close(result.output, inputs, rtol=0.1, atol=0.01)
    assert float(result.stats.coverage.min()) == 1.0
    expected = create_processor(config).launch(inputs).level.square().mean().sqrt()
    assert float(expected) == pytest.approx(1.0, abs=1e-5)


def test_same_seed_gives_the_same_bits() -> None:
    inputs = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    results = []
    for _ in range(2):
        processor = build_model(BUSY.replace(seed=5), seed=2, dtype=torch.float32)
        output = processor(inputs)
        output.square().sum().backward()
        results.append([output.detach(), *(weight.grad for weight in processor.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert not torch.equal(
        create_processor(BUSY).mapper.input_weight, create_processor(BUSY.replace(seed=1)).mapper.input_weight
    )


def test_building_a_processor_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    create_processor(BUSY)
    assert torch.equal(torch.get_rng_state(), before)


def test_autocast_keeps_energy_mass_and_position_in_float32() -> None:
    processor = build_model(BUSY, seed=2, dtype=torch.float32)
    inputs = torch.randn(8, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        result = processor.run(inputs, record=True)
        flows = processor.step(processor.step(processor.launch(inputs)).flows).flows
    for name in ("energy", "mass", "position"):
        assert getattr(flows, name).dtype == torch.float32
    assert flows.hidden.dtype == torch.bfloat16
    assert result.output.dtype == torch.float32
    result.output.square().sum().backward()
    assert bool(torch.isfinite(inputs.grad).all())
    stats = result.stats
    assert int(stats.spawned.sum()) > 0
    assert torch.equal(stats.launched + stats.spawned.sum(0), stats.arrived.sum(0) + stats.faded.sum(0))
    torch.testing.assert_close(stats.arrived_mass + stats.faded_mass, torch.full((8,), 6.0), rtol=0, atol=1e-5)


def test_trace_follows_every_flow_from_its_beginning_to_its_end() -> None:
    processor = build_model(BUSY, seed=2)
    result = processor.run(
        torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), record=True
    )
    trace, stats = result.trace, result.stats
    assert trace is not None
    begun = (trace.event >= 3).sum()
    ended = ((trace.event == ARRIVED) | (trace.event == FADED)).sum()
    assert int(begun) == int(ended) == int((stats.launched + stats.spawned.sum(0)).sum())
    assert int((trace.event < 3).sum()) == int(stats.flow_steps)
    assert processor.run(torch.ones(1, 12, dtype=torch.float64)).trace is None


def test_state_lives_for_one_forward_pass() -> None:
    """The second batch must not touch the first one's graph, nor its result."""
    processor = build_model(BUSY, seed=2)
    inputs = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = processor(inputs)
    kept = first.detach().clone()
    processor(inputs * 2).sum().backward()
    first.sum().backward()
    assert torch.equal(first, kept)


def test_nan_in_the_weights_ends_with_an_error_and_not_in_a_loop() -> None:
    processor = build_model(BUSY, seed=2)
    with torch.no_grad():
        processor.carrier.heads.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="positions are not finite"):
        processor(torch.ones(1, 12, dtype=torch.float64))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.ones(2, 11), r"shape \(2, 11\).*\(rows, 12\)"),
        (torch.ones(12), r"shape \(12,\)"),
        (torch.ones(0, 12), "at least one row"),
        (torch.ones(2, 12, dtype=torch.int64), "int64"),
    ],
)
def test_wrong_inputs_are_named(inputs: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_processor(BUSY)(inputs)


def test_equal_children_go_by_flow_id_whatever_the_order_of_rows() -> None:
    config = BUSY.replace(max_spawn_per_step=3)
    processor = create_processor(config)
    flows = processor.launch(torch.ones(2, 12))
    flows = flows._replace(energy=torch.ones_like(flows.energy))
    expected = [(0, 0, 6), (0, 0, 7), (0, 1, 8), (1, 0, 6), (1, 0, 7), (1, 1, 8)]
    for seed in range(5):
        order = torch.randperm(flows.size, generator=torch.Generator().manual_seed(seed))
        children = processor.step(flows.rows(order)).children
        columns = (children.sample.tolist(), children.parent_id.tolist(), children.flow_id.tolist())
        assert sorted(zip(*columns, strict=True)) == expected
