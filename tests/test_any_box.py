"""One set of weights in any box: the same physics, sets of several sizes, read-outs along the way, preludes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from energy_flow.config import Box, EnergyConfig, create_grid_config
from energy_flow.core import FlowProcessor, Prelude, create_processor
from energy_flow.data import PairData, make_task
from energy_flow.data.tasks import Sizes
from energy_flow.training import EnergyTrainer, TrainingStopped
from energy_flow.training.batches import batch_count, epoch_batches

from .reference import Reference
from .strategies import SMALL, build_model

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
    max_active_flows=6,
)
SIZES = Sizes(((2, 2), (3, 2)), ((2, 2), (3, 2)), ((4, 3),))


def rows(config: EnergyConfig, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, config.input_embedding_dim, generator=generator, dtype=torch.float64)


def wandering(**changes) -> EnergyConfig:
    """A model whose flows move, split and fade, with faces for any box."""
    return GRID.replace(
        mover="free",
        max_jump=None,
        features=("relative", "energy", "neighbours", "recall", "sample", "attention"),
        energy_rule="origin",
        max_children=2,
        max_spawn_per_step=3,
        max_active_flows=9,
        energy_threshold=0.1,
        **changes,
    )


@pytest.mark.parametrize("box", [Box(4, 5, 6), Box(1, 2, 3), Box(6, 4, 9)], ids=str)
@pytest.mark.parametrize("config", [GRID, wandering()], ids=["grid", "wandering"])
def test_the_twin_gives_the_same_in_another_box(config: EnergyConfig, box: Box) -> None:
    processor = build_model(config, 5)
    inside = config.in_box(box)
    inputs = rows(inside)
    result = processor.run(inputs, box=box)
    weights = dict(processor.named_parameters()) | dict(processor.named_buffers())
    expected = torch.stack([Reference(inside, weights).run(row).output for row in inputs])
    torch.testing.assert_close(result.output, expected, rtol=1e-9, atol=1e-9)


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
    shallow, deep = (processor.run(rows(GRID), box=Box(3, 2, depth)) for depth in (40, 2000))
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


def test_coasting_flows_do_as_the_twin_says_and_save_work() -> None:
    coasted = 0
    for seed in range(12):
        config = (wandering() if seed % 2 else GRID).replace(
            coast=0.3, lattice_depth=9, initial_steps=4 + 4 * (seed % 3)
        )
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
    assert coasted > 20
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
    return GRID.replace(**wide, **losses, batch_size=8, epochs=2, prelude_steps=4, depth_exponent=1.7, **changes)


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


class StopAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, total_steps: int) -> None:
        pass

    def observe(self, records) -> None:
        if any(record["step"] == self.step for record in records):
            raise KeyboardInterrupt

    def validate(self, record, examples) -> None:
        pass

    def close(self) -> None:
        pass


def weights_of(processor: FlowProcessor) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in processor.state_dict().items()}


@pytest.mark.parametrize("changes", [{}, {"mover": "pointer", "reader": "aimed", "aim_entropy": 0.1}], ids=str)
def test_a_cut_run_on_several_sizes_ends_with_the_same_bits(tmp_path: Path, changes: dict) -> None:
    settings = small(energy_noise=0.05, ema_decay=0.9, log_every=1, checkpoint_every=1, **changes)
    whole = EnergyTrainer(create_processor(settings), settings, tmp_path / "whole")
    whole.fit(mazes())
    cut = EnergyTrainer(create_processor(settings), settings, tmp_path / "cut", observers=[StopAfter(7)])
    with pytest.raises((KeyboardInterrupt, TrainingStopped)):
        cut.fit(mazes())
    gone_on = EnergyTrainer.resume(tmp_path / "cut")
    gone_on.fit(mazes())
    ours, theirs = weights_of(whole.processor), weights_of(gone_on.processor)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
