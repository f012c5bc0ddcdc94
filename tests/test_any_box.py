"""One set of weights in any box: the same physics, sets of several sizes, read-outs along the way, preludes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from energy_flow.cli.settings import defaults_of_training, read_early
from energy_flow.config import Box, EnergyConfig, create_grid_config
from energy_flow.core import EnergyLattice, FlowProcessor, Place, Prelude, create_processor
from energy_flow.core.execution.cost import kept_bytes, measure_cost
from energy_flow.data import TASKS, PairData, build_task, load_data, make_task
from energy_flow.data.tasks import Sizes
from energy_flow.training import EnergyTrainer, NonFiniteError, TrainingStopped
from energy_flow.training.batches import batch_count, epoch_batches, largest_of
from energy_flow.training.diagnosis import LOSS_ALONE, first_nonfinite
from energy_flow.training.model_folder import save_model
from energy_flow.utils import DeviceManager

from .reference import Reference
from .strategies import SMALL, build_model
from .test_resume import CutAt

GRID = create_grid_config(
    **SMALL | {"neuron_hidden_dim": 6},
    lattice_width=3,
    lattice_height=2,
    lattice_depth=4,
    sites=(3, 2),
    initial_steps=3,
    input_embedding_dim=12,
    output_embedding_dim=6,
    energy_dim=3,
    coast=0.0,
    max_active_flows=6,
)
SIZES = Sizes(((2, 2), (3, 2)), ((2, 2), (3, 2)), ((4, 3),))


def rows(config: EnergyConfig, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, config.input_embedding_dim, generator=generator, dtype=torch.float64)


def wandering(**changes) -> EnergyConfig:
    """A model whose flows move, split and fade, with faces for any box."""
    fields = {
        "mover": "free",
        "max_jump": None,
        "features": ("relative", "energy", "neighbours", "recall", "sample", "attention"),
        "energy_rule": "origin",
        "max_children": 2,
        "max_spawn_per_step": 3,
        "max_active_flows": 9,
        "energy_threshold": 0.1,
    }
    return GRID.replace(**fields | changes)


@pytest.mark.parametrize(
    "box", [Box(4, 5, 6), Box(1, 2, 3), pytest.param(Box(6, 4, 9), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(GRID, id="grid"),
        pytest.param(wandering(), id="wandering"),
        pytest.param(wandering(lattice_depth=7, initial_steps=2), id="striding", marks=pytest.mark.slow),
    ],
)
def test_the_twin_gives_the_same_in_another_box(config: EnergyConfig, box: Box) -> None:
    processor = build_model(config, 5)
    inside = config.in_box(box)
    inputs = rows(inside)
    result = processor.run(inputs, box=box)
    weights = dict(processor.named_parameters()) | dict(processor.named_buffers())
    expected = torch.stack([Reference(inside, weights).run(row).output for row in inputs])
    torch.testing.assert_close(result.output, expected, rtol=1e-9, atol=1e-9)


class Still(EnergyLattice):
    """Geometry of a user's own."""


def test_a_lattice_of_ones_own_is_used_in_every_box() -> None:
    processor = create_processor(GRID)
    processor.in_box(Box(5, 5, 9))
    processor.lattice = Still(GRID)
    assert isinstance(processor.in_box(Box(5, 5, 9)).lattice, Still)


def test_a_view_shares_every_weight_and_costs_no_state() -> None:
    processor = create_processor(GRID)
    view = processor.in_box(Box(5, 5, 9))
    assert [*map(id, view.parameters())] == [*map(id, processor.parameters())]
    assert view.state_dict().keys() == processor.state_dict().keys()
    assert processor.config.box == Box(3, 2, 4) and view.config.sites == (5, 5)
    processor.eval()
    assert not processor.in_box(Box(5, 5, 9)).training


@pytest.mark.parametrize("box", [Box(3, 2, 4), Box(7, 5, 40)], ids=str)
def test_an_untrained_model_returns_its_input_in_any_box(box: Box) -> None:
    config = GRID.replace(output_embedding_dim=12, output_scale=1.0)
    processor = create_processor(config).double()
    inputs = rows(config.in_box(box))
    torch.testing.assert_close(processor.run(inputs, box=box).output, inputs, rtol=1e-6, atol=1e-6)


def test_rows_may_come_site_by_site() -> None:
    processor = create_processor(GRID).double()
    inputs = rows(GRID)
    assert torch.equal(processor(inputs.view(2, 6, 2)), processor(inputs))
    with pytest.raises(ValueError, match=r"shape \(2, 2, 6\); the model expects \(rows, 12\), or \(rows, 6, 2\)"):
        processor(inputs.view(2, 2, 6))


def test_boxes_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="box = '33x33'; give width, height and depth"):
        Box.parse("33x33")
    halves = GRID.replace(lattice_width=6)
    with pytest.raises(ValueError, match="box: width = 7; a site has 6/3 cells here: give a multiple"):
        halves.in_box(Box(7, 2, 4))
    with pytest.raises(ValueError, match="mapping = 'local' makes faces for 6 sites alone"):
        create_processor(GRID.replace(mapping="local")).run(torch.ones(1, 24), box=Box(4, 3, 4))
    create_processor(GRID.replace(mapping="local")).run(torch.ones(1, 12), box=Box(3, 2, 9))  # as many sites


def test_energy_stays_in_range_however_deep_the_box_is() -> None:
    processor = build_model(GRID, 5)
    shallow, deep = (processor.run(rows(GRID), box=Box(3, 2, depth)) for depth in (40, 800))
    assert float(deep.stats.mean_level.max()) <= 1.5 * float(shallow.stats.mean_level.max())


def test_what_is_read_along_the_way_is_what_a_shallower_box_gives() -> None:
    processor = build_model(GRID, 5)
    along = processor.run(rows(GRID), along=1.0, box=Box(3, 2, 7)).along
    assert along is not None and len(along) == 6
    for steps, read in enumerate(along, start=1):
        torch.testing.assert_close(read, processor.run(rows(GRID), box=Box(3, 2, steps + 1)).output)


def test_a_prelude_is_steps_on_other_rows_without_gradient() -> None:
    processor, inputs, first = build_model(GRID, 5), rows(GRID).requires_grad_(), rows(GRID).flip(0)
    output = processor.run(inputs, prelude=Prelude(2, first)).output
    with torch.no_grad():
        flows = processor.launch(first)
        for _ in range(2):
            flows = processor.step(flows).flows
    deeper = processor.in_box(Box(3, 2, 6))
    flows = flows._replace(entered=processor.mapper.to_sites(inputs))
    for _ in range(3):
        result = deeper.step(flows)
        flows = result.flows
    by_hand = processor.mapper.to_embedding(result.moved.energy.view(2, 6, 3))
    torch.testing.assert_close(output, by_hand)
    parameters = [inputs, *processor.parameters()]
    ours, theirs = (
        torch.autograd.grad(one.square().sum(), parameters, allow_unused=True, materialize_grads=True)
        for one in (output, by_hand)
    )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


def test_noise_is_of_training_alone() -> None:
    processor = build_model(GRID.replace(energy_noise=0.1), 5)
    first, second = (processor(rows(GRID)) for _ in range(2))
    assert not torch.equal(first, second)
    processor.eval()
    first, second = (processor(rows(GRID)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("seeds", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_coasting_flows_do_as_the_twin_says_and_save_work(seeds: int) -> None:
    coasted = 0
    kinds = (GRID, wandering(), GRID.replace(mover="pointer", reader="aimed"), wandering(features=("energy", "cross")))
    for seed in range(seeds):
        config = kinds[seed % 4].replace(coast=0.3, lattice_depth=9, initial_steps=4 + 4 * (seed % 3))
        processor = build_model(config, seed).eval()
        result = processor.run(rows(config))
        weights = dict(processor.named_parameters()) | dict(processor.named_buffers())
        for row, inputs in enumerate(rows(config)):
            sample = Reference(config, weights, training=False).run(inputs)
            torch.testing.assert_close(result.output[row], sample.output, rtol=1e-9, atol=1e-9)
            steps = len(sample.coasted)
            assert result.stats.coasted[:steps, row].tolist() == sample.coasted
            coasted += sum(sample.coasted)
        assert result.stats.flow_steps == result.stats.live.sum() - result.stats.coasted.sum()
    assert coasted > 1.6 * seeds
    inside = build_model(GRID, 0).eval()
    assert not inside.run(rows(GRID), box=Box(3, 2, 30)).stats.coasted.any()
    inside.config = inside.config.replace(coast=0.3)
    assert inside.run(rows(GRID), box=Box(3, 2, 30)).stats.coasted.any()
    assert not processor.train().run(rows(config)).stats.coasted.any()


def mazes(train_rows: int = 44) -> PairData:
    return make_task("maze", train_rows, 12, sizes=SIZES)


def small(**changes) -> EnergyConfig:
    wide = {"input_embedding_dim": 36, "output_embedding_dim": 12, "energy_dim": 8, "target_classes": 2}
    losses = {"loss_cross_entropy": 1.0, "loss_cosine": 0.0}
    run = {"batch_size": 8, "epochs": 2, "prelude_steps": 4, "depth_exponent": 1.7}
    return GRID.replace(**wide | losses | run | changes)


def test_every_row_comes_once_an_epoch_and_a_batch_has_one_size() -> None:
    pairs = mazes(45).train
    batches = epoch_batches(pairs, 8, seed=0, epoch=1)
    assert len(batches) == batch_count(pairs, 8) == 6
    assert torch.cat(batches).sort().values.tolist() == list(range(45))
    faces = [pairs.face_of(batch) for batch in batches]
    assert {*faces} == {(2, 2), (3, 2)} and faces != sorted(faces)
    again, other = epoch_batches(pairs, 8, seed=0, epoch=1), epoch_batches(pairs, 8, seed=0, epoch=2)
    assert all(map(torch.equal, batches, again)) and not all(map(torch.equal, batches, other))


def test_a_set_of_several_sizes_is_trained_and_judged_size_by_size() -> None:
    trainer = EnergyTrainer(create_processor(small()), small())
    result = trainer.fit(mazes())
    assert result.steps == 12
    figures = result.epochs[-1].figures()
    assert 0 <= figures["whole mazes"] <= 1 and {"whole mazes 2x2", "whole mazes 3x2"} <= figures.keys()
    test = mazes().test
    assert trainer.predict(test.inputs, Box(4, 3, 5)).shape == (12, 24)
    assert trainer.evaluate(test).mse > 0  # in the box of its face


def test_the_cost_of_the_exchange_is_told_per_flow_step() -> None:
    """Softmax attention asks every column; linear attention costs the same whatever the face is."""
    fields = {"features": ("energy",), "place_harmonics": 1, "exchange_dim": 4, "exchange_heads": 2}
    plain, wide = create_grid_config(**fields), {"features": ("energy", "attention")}
    linear = {"features": ("energy", "associative")}
    flops = [
        measure_cost(plain.replace(**changes)).forward_flops["neuron"]
        for changes in ({}, wide, linear, wide | {"sites": (32, 12), "input_embedding_dim": 384})
    ]
    asked = 2 * (4 * (4 + 32) + 4 * (4 + 32) + 4 * 32)  # queries, keys and values
    layer = 2 * 4 * plain.neuron_hidden_dim
    assert flops[1] - flops[0] == asked + layer + 2 * 2 * 768 * 4
    assert flops[2] - flops[0] == asked + layer + 2 * 2 * 4 * 4 // 2
    assert flops[1] - flops[3] == 2 * 2 * 384 * 4


def test_memory_is_planned_for_the_largest_box_and_the_longest_prelude() -> None:
    largest = largest_of(mazes().train, small())
    assert largest.sites == (3, 2) and largest.untrained_path == 3 + 4
    assert largest_of(mazes().test, small()).sites == (4, 3)


def test_a_task_waits_and_matrices_that_come_after_it_do_not() -> None:
    trainer = EnergyTrainer(create_processor(small(epochs=1)), small(epochs=1))
    trainer.fit(mazes())
    assert trainer._step.waiting is TASKS["maze"].waiting
    part = mazes().train.parts[1]
    trainer.train(part.inputs, part.targets, 1)
    assert trainer._step.waiting is None


def test_a_number_that_is_not_finite_is_looked_for_after_the_prelude_too() -> None:
    processor, inputs = build_model(GRID, 5), rows(GRID)
    devices = DeviceManager("cpu", "float32")
    broken = Prelude(2, inputs * torch.inf)
    assert first_nonfinite(processor, inputs, devices) == LOSS_ALONE
    assert first_nonfinite(processor, inputs, devices, prelude=broken).startswith("the output of module ")


def weights_of(processor: FlowProcessor) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in processor.state_dict().items()}


@pytest.mark.parametrize("changes", [{}, {"mover": "pointer", "reader": "aimed", "aim_entropy": 0.1}], ids=str)
def test_a_cut_run_on_several_sizes_ends_with_the_same_bits(tmp_path: Path, changes: dict) -> None:
    settings = small(energy_noise=0.05, ema_decay=0.9, log_every=1, checkpoint_every=1, **changes)
    whole = EnergyTrainer(create_processor(settings), settings, tmp_path / "whole")
    whole.fit(mazes())
    cut = EnergyTrainer(create_processor(settings), settings, tmp_path / "cut", observers=[CutAt(7)])
    with pytest.raises((KeyboardInterrupt, TrainingStopped)):
        cut.fit(mazes())
    gone_on = EnergyTrainer.resume(tmp_path / "cut")
    gone_on.fit(mazes())
    ours, theirs = weights_of(whole.processor), weights_of(gone_on.processor)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_prelude_is_taken_in_another_box_too() -> None:
    processor, box = build_model(GRID, 5), Box(4, 5, 6)
    inputs = rows(GRID.in_box(box))
    prelude = Prelude(4, inputs.flip(0))
    there, view = processor.run(inputs, box=box, prelude=prelude), processor.in_box(box).run(inputs, prelude=prelude)
    assert there.stats.steps == 5 + 4
    assert torch.equal(there.output, view.output) and not torch.equal(there.output, processor(inputs, box=box))


def test_what_enters_after_a_prelude_wakes_flows_that_coast() -> None:
    config = GRID.replace(coast=1e-6, output_embedding_dim=12, output_scale=1.0, lattice_depth=80, initial_steps=79)
    processor, inputs = create_processor(config).double().eval(), rows(config)
    result = processor.run(inputs, prelude=Prelude(60, inputs.flip(0)))
    assert result.stats.coasted.any()
    torch.testing.assert_close(result.output, inputs, rtol=1e-4, atol=1e-4)


def test_coasting_may_be_chosen_for_a_model_that_is_there() -> None:
    config = GRID.replace(lattice_depth=40, initial_steps=39)
    other, processor = (build_model(one, 5).eval() for one in (config, config.replace(coast=0.3)))
    other.config = processor.config
    ours, theirs = (one.run(rows(GRID)) for one in (processor, other))
    assert ours.stats.coasted.any() and torch.equal(ours.stats.coasted, theirs.stats.coasted)


def test_preludes_and_shares_that_do_not_fit_are_refused_by_name() -> None:
    processor, inputs = create_processor(GRID), rows(GRID)
    assert processor.run(inputs, prelude=Prelude(2, inputs.numpy())).output.dtype == torch.float32  # type: ignore
    with pytest.raises(ValueError, match=r"prelude.embeddings has 1 rows for 2 embeddings"):
        processor.run(inputs, prelude=Prelude(2, inputs[:1]))
    with pytest.raises(ValueError, match=r"shape \(2, 24\); the model expects \(rows, 12\)"):
        processor.run(inputs, prelude=Prelude(2, rows(GRID.in_box(Box(6, 2, 4)))))
    with pytest.raises(ValueError, match=r"prelude.steps = -1; give 0 or more"):
        processor.run(inputs, prelude=Prelude(-1, inputs))
    with pytest.raises(ValueError, match=r"along = 1.5; give a share of the path"):
        processor.run(inputs, along=1.5)


def test_pointers_of_flows_that_all_fade_have_no_entropy_and_do_not_stop_training() -> None:
    config = GRID.replace(mover="pointer", reader="aimed", energy_threshold=50.0, spawn_threshold=60.0)
    result = create_processor(config).run(rows(config))
    assert result.stats.arrived.sum() == 0 and result.aim_entropy == 0


def test_a_pointer_reaches_every_cell_in_the_arithmetic_of_bfloat16() -> None:
    config = create_grid_config(
        lattice_width=601, lattice_height=1, sites=(601, 1), max_active_flows=601, mover="pointer", energy_dim=2,
        input_embedding_dim=601, output_embedding_dim=601,
    )  # fmt: skip
    processor = create_processor(config)
    flows = processor.launch(torch.ones(1, 601))
    place = Place(flows.position + torch.tensor([0.0, 0.0, 23.0]), processor.lattice)
    head = 3 * torch.randn(601, processor.carrier.mover.width, generator=torch.Generator().manual_seed(0))
    exact = processor.carrier.mover(head, place).position
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(processor.carrier.mover(head, place).position, exact)


def test_the_estimate_of_memory_leaves_the_generators_alone() -> None:
    before = torch.get_rng_state()
    kept_bytes(wandering(), 4, checkpointed=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_ends_with_the_step_even_where_it_fails() -> None:
    settings = small(energy_noise=0.1)
    processor = create_processor(settings)
    with torch.no_grad():
        processor.carrier.heads.bias[0] = float("nan")
    with pytest.raises(NonFiniteError):
        EnergyTrainer(processor, settings).fit(mazes())
    assert processor.noise_source is None  # so it can be copied and saved


def test_pairs_of_several_sizes_are_judged_one_by_one() -> None:
    trainer = EnergyTrainer(create_processor(small()), small())
    with pytest.raises(ValueError, match=r"pairs has pairs of several sizes \(2 x 2, 3 x 2\); give pairs of one size"):
        trainer.evaluate(mazes().validation)  # type: ignore[arg-type]


def test_faces_for_one_number_of_sites_learn_rows_of_another_face_in_their_own_box() -> None:
    settings = small().replace(mapping="local", sites=(2, 1), lattice_width=4, energy_dim=18)
    data = make_task("maze", 16, 8, sizes=Sizes.one((3, 2)))
    trainer = EnergyTrainer(create_processor(settings), settings)
    assert trainer.fit(data).steps == 4
    assert trainer.evaluate(data.test).mse > 0


def test_weights_of_one_size_start_a_run_on_another(tmp_path: Path) -> None:
    save_model(create_processor(small()), tmp_path / "model")
    build_task("maze", tmp_path / "mazes", 16, 8, sizes=Sizes.one((4, 4)))
    build_task("flood", tmp_path / "floods", 16, 8, sizes=Sizes.one((4, 4)))
    given = ["--init-from", str(tmp_path / "model"), "--data"]
    settings = defaults_of_training(read_early([*given, str(tmp_path / "mazes")]))
    assert settings.sites == (3, 2) and settings.input_embedding_dim == 36
    assert EnergyTrainer(create_processor(settings), settings).fit(load_data(str(tmp_path / "mazes"))).steps == 4
    with pytest.raises(ValueError, match="input_embedding_dim = 48 in flood, and 96 in"):
        defaults_of_training(read_early([*given, str(tmp_path / "floods")]))


def test_the_cost_of_a_gated_neuron_has_its_gate() -> None:
    plain, gated = (measure_cost(GRID.replace(neuron_gate=gate)) for gate in (False, True))
    width = create_processor(GRID).neuron.perceive.weight.numel()
    assert gated.forward_flops["neuron"] == plain.forward_flops["neuron"] + 2 * width


def test_faces_are_measured_whatever_the_layout_of_the_rows() -> None:
    config, rows = GRID.replace(center_inputs=True), torch.randn(20, 12, dtype=torch.float64)
    found = []
    for inputs in (rows, rows.t().contiguous().t()):
        processor = create_processor(config)
        processor.mapper.calibrate(inputs, torch.ones(2, 12))
        found.append((processor.mapper.input_mean, processor.mapper.input_rms))
    torch.testing.assert_close(*found)
