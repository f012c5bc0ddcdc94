"""The model as a module like any other: derivatives of any order, parts that are replaced or wrapped, other builds."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from energy_flow.config import Box, create_config
from energy_flow.core import EnergyCarrier, EnergyLattice, Execution, FlowProcessor, SimpleNeuron, create_processor
from energy_flow.core.constants import seeded_start
from energy_flow.core.movers import FreeMover
from energy_flow.models import load
from energy_flow.training import EnergyTrainer

from .strategies import build_model
from .test_laws import BUSY
from .together import finish, start

ROWS = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model(execution: Execution = Execution(), dtype: torch.dtype = torch.float64) -> FlowProcessor:  # noqa: B008
    built = build_model(BUSY, seed=2, dtype=dtype)
    built.execute(execution)
    return built


# ------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize(
    "execution",
    [Execution(), pytest.param(Execution(checkpointed=True), marks=pytest.mark.slow), Execution(row_bucket=8)],
)
def test_second_derivatives_are_those_of_the_equations(execution: Execution) -> None:
    def hessian(how: Execution) -> torch.Tensor:
        built = model(how)
        return torch.autograd.functional.hessian(lambda rows: built(rows).square().sum(), ROWS[:1])

    torch.testing.assert_close(hessian(execution), hessian(Execution(fused=False)), rtol=1e-9, atol=1e-9)


def test_second_derivatives_of_the_weights_are_those_of_the_equations() -> None:
    """A gradient penalty: the gradient of the size of a gradient."""
    found = []
    for how in (Execution(), Execution(fused=False)):
        built, rows = model(how), ROWS.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(built(rows).square().sum(), rows, create_graph=True)
        gradient.square().sum().backward()
        found.append([weight.grad for weight in built.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["flows that perceive each other", "flows that split"])
def test_gradgradcheck(name: str) -> None:
    from .test_laws import GRADCHECK

    built = build_model(GRADCHECK[name], seed=4)
    rows = ROWS[:2, : GRADCHECK[name].input_embedding_dim].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(built, rows, fast_mode=True, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.func itself
def test_transforms_of_torch_func_agree_with_autograd() -> None:
    built = model()
    expected = torch.autograd.functional.jacobian(built, ROWS[:1])
    torch.testing.assert_close(torch.func.jacrev(built)(ROWS[:1]), expected)
    torch.testing.assert_close(torch.func.jacfwd(built)(ROWS[:1]), expected)
    pull, push = torch.randn(4, 12, dtype=torch.float64), torch.randn(4, 12, dtype=torch.float64)
    rows = ROWS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((built(rows) * pull).sum(), rows)
    torch.testing.assert_close(torch.func.grad(lambda one: (built(one) * pull).sum())(ROWS), gradient)
    _, tangent = torch.func.jvp(built, (ROWS,), (push,))
    torch.testing.assert_close((tangent * pull).sum(), (gradient * push).sum())
    with forward_ad.dual_level():
        dual = built(forward_ad.make_dual(ROWS, push))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, tangent)
    weights = dict(built.named_parameters())
    by_weight = torch.func.grad(lambda some: torch.func.functional_call(built, some, (ROWS,)).square().sum())(weights)
    built(ROWS).square().sum().backward()
    for name, weight in built.named_parameters():
        torch.testing.assert_close(by_weight[name], weight.grad)


@pytest.mark.filterwarnings("ignore")
def test_vectorized_jacobians_are_those_of_the_loop() -> None:
    built = model()
    expected = torch.autograd.functional.jacobian(built, ROWS[:1])
    torch.testing.assert_close(torch.autograd.functional.jacobian(built, ROWS[:1], vectorize=True), expected)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_follow_flows_is_refused_in_a_sentence() -> None:
    built = model()
    with pytest.raises(NotImplementedError, match=r"torch.vmap cannot run a lattice: .*give all samples as the rows"):
        torch.vmap(lambda row: built(row[None])[0])(ROWS)
    weights, buffers = torch.func.stack_module_state([built, model()])
    with pytest.raises(NotImplementedError, match=r"torch.vmap cannot run .*models of an ensemble one after"):
        torch.vmap(lambda one, other: torch.func.functional_call(built, (one, other), (ROWS,)))(weights, buffers)
    with pytest.raises(NotImplementedError, match=r"torch.jit.trace would freeze the flows .*use torch.export"):
        torch.jit.trace(built, ROWS)


# ------------------------------------------------------------------------------------- parts that are not its own


class Mine(SimpleNeuron):
    called = 0

    def forward(self, features):
        Mine.called += 1
        return super().forward(features) * 0 + 100


def test_a_replaced_part_is_called_and_trained() -> None:
    built, Mine.called = model(), 0
    before = built(ROWS)
    built.neuron = Mine(BUSY).double()
    assert not torch.equal(built(ROWS), before)
    assert Mine.called >= 3
    built.neuron = SimpleNeuron(BUSY).double()
    built.neuron.project = nn.Sequential(nn.Tanh(), nn.Linear(6, 5)).double()
    built(ROWS).square().sum().backward()
    assert built.neuron.project[1].weight.grad is not None
    built.carrier = EnergyCarrier(BUSY).double()
    assert built(ROWS).shape == (4, 12)


def test_hooks_and_checkpoint_wrappers_of_torch_see_every_call() -> None:
    built, calls = model(), []
    expected = built(ROWS)
    apply_activation_checkpointing(built, check_fn=lambda part: isinstance(part, EnergyCarrier))
    built.carrier.register_forward_pre_hook(lambda *_: calls.append("carrier"))
    built.neuron.perceive.register_forward_hook(lambda *_: calls.append("perceive"))
    result = built.run(ROWS)
    torch.testing.assert_close(result.output, expected)
    assert calls.count("carrier") == calls.count("perceive") == result.stats.steps
    result.output.square().sum().backward()
    assert all(weight.grad is not None for weight in built.parameters())


def same_as_the_modules(built: FlowProcessor) -> None:
    """Whatever was changed: the fast forms give what the modules give, with gradients and without."""
    found = built(ROWS)
    with torch.no_grad():
        in_place = built(ROWS)
    built.execute(Execution(fused=False))
    expected = built(ROWS)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(in_place, expected, rtol=1e-9, atol=1e-10)
    assert not torch.allclose(expected, model()(ROWS)), "the change had no effect"


def test_hooks_and_forwards_of_movers_and_pieces_count() -> None:
    built = model()
    built.carrier.mover.register_forward_hook(lambda _, inputs, output: output + output.new_tensor([0.0, 0.0, 3.0]))
    same_as_the_modules(built)
    built = model()
    built.carrier.mover.forward = lambda head, place: place.position + place.position.new_tensor([0.0, 0.0, 1.0])
    same_as_the_modules(built)
    built = model()
    built.neuron.pieces[1].forward = lambda seen: seen.energy * 0
    same_as_the_modules(built)
    built = model()
    built.neuron.pieces[0].register_forward_hook(lambda _, inputs, output: output * 0)
    same_as_the_modules(built)
    built = model()
    built.carrier.mover = FreeMover(BUSY.replace(max_jump=1))
    same_as_the_modules(built)


class Warm(FlowProcessor):
    def launch(self, embeddings):
        flows = super().launch(embeddings)
        return flows._replace(hidden=flows.hidden + 1, position=flows.position.flip(0), mass=flows.mass * 0.5)


def test_a_launch_and_a_lattice_of_ones_own_count() -> None:
    built = model()
    built.__class__ = Warm
    same_as_the_modules(built)
    built = model()
    built.lattice.settle = lambda position: EnergyLattice.settle(built.lattice, position + 1)
    same_as_the_modules(built)


def test_hooks_of_the_model_itself_are_set_off_by_training() -> None:
    config, calls = BUSY.replace(batch_size=8, epochs=1), []
    built = create_processor(config)
    built.register_forward_hook(lambda *_: calls.append(1))
    rows = torch.randn(16, 12)
    EnergyTrainer(built, config).train(rows, rows)
    assert len(calls) == 2


def test_a_forward_that_was_put_in_place_is_called() -> None:
    built = model()
    built.neuron.project.forward = lambda rows: torch.zeros(len(rows), 5, dtype=rows.dtype)
    plain = model()
    with torch.no_grad():
        plain.neuron.project.weight.zero_()
        plain.neuron.project.bias.zero_()
    torch.testing.assert_close(built(ROWS), plain(ROWS))


@pytest.mark.parametrize("rule", [{"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, {}])
def test_an_average_of_equal_models_is_that_model(rule) -> None:
    built = model()
    average = AveragedModel(built, use_buffers=True, **rule)
    for _ in range(3):
        average.update_parameters(built)
    torch.testing.assert_close(average(ROWS), built(ROWS), rtol=1e-12, atol=1e-12)
    assert torch.equal(average.module.neuron.neighbours, built.neuron.neighbours)


def test_a_model_that_was_used_in_inference_mode_first_can_be_trained() -> None:
    built = model(dtype=torch.float32)
    with torch.inference_mode():
        expected = built(ROWS.float())
    found = built(ROWS.float())
    assert torch.equal(found, expected.clone())
    found.sum().backward()


def test_every_weight_has_a_gradient_where_all_flows_fade_at_once() -> None:
    """DistributedDataParallel waits for every gradient."""
    built = build_model(BUSY.replace(energy_threshold=50.0, spawn_threshold=60.0), seed=2)
    result = built.run(ROWS)
    assert result.stats.steps == 1
    result.output.sum().backward()
    assert all(weight.grad is not None for weight in built.parameters())


def test_copies_pickles_and_torchs_wrappers_give_the_same() -> None:
    built = model()
    expected = built(ROWS)
    for other in (copy.deepcopy(built), pickle.loads(pickle.dumps(built)), nn.DataParallel(built)):
        assert torch.equal(other(ROWS), expected)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["whole", "carrier", "both", "ddp"])
def test_sharded_and_distributed_models_have_the_same_gradients(what: str) -> None:
    for code, said in finish(start(2, "tests.sharded_worker", what)):
        assert code == 0, said
        assert "equal" in said


# --------------------------------------------------------------------------------------------------- other builds


@pytest.mark.parametrize("assign", [False, True])
def test_a_model_built_on_meta_is_filled_from_a_state_dict(assign: bool) -> None:
    built = create_processor(BUSY)
    with torch.device("meta"):
        empty = create_processor(BUSY)
    assert all(weight.is_meta for weight in empty.parameters())
    filled = empty if assign else empty.to_empty(device="cpu")
    filled.load_state_dict(built.state_dict(), assign=assign)
    rows = ROWS.float()
    assert torch.equal(filled(rows), built(rows))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_positions_exact_in_a_large_box(dtype: torch.dtype) -> None:
    """400 cells: beyond 256, bfloat16 knows every second or fourth cell alone."""
    config = create_config(
        "tiny", lattice_width=400, lattice_height=400, sites=(20, 20), max_active_flows=400, max_children=0,
        input_embedding_dim=800, output_embedding_dim=800, energy_dim=8, carrier_hidden_size=8,
    )  # fmt: skip
    wide, half = (create_processor(config).to(one) for one in (torch.float32, dtype))
    rows = nn.functional.normalize(torch.randn(1, 800, generator=torch.Generator().manual_seed(0)))
    expected, found = (one.run(rows, record=True).trace.position for one in (wide, half))
    assert found.dtype == torch.float32
    assert torch.equal(found[:400], expected[:400])
    assert torch.equal(found[found[:, 2] < 7], found[found[:, 2] < 7].round())


def test_the_parts_built_one_by_one_follow_the_seed_and_touch_no_generator() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    config = BUSY.replace(seed=3)
    built = FlowProcessor(EnergyLattice(config), SimpleNeuron(config), config)
    assert torch.equal(torch.get_rng_state(), before)
    expected = create_processor(config).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in built.state_dict().items())


@pytest.mark.parametrize("convert", [torch.Tensor.numpy, torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double])
def test_rows_of_any_precision_and_arrays_are_taken(convert) -> None:
    built, rows = create_processor(BUSY), ROWS.float()
    torch.testing.assert_close(built(convert(rows)), built(rows), rtol=0.1, atol=0.1)
    assert built(convert(rows)).dtype == torch.float32
    graph = rows.clone().requires_grad_()
    built(graph.double()).sum().backward()
    assert graph.grad is not None


def test_models_that_are_built_in_threads_have_the_weights_of_their_seed_and_draw_nothing() -> None:
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: create_processor(BUSY).state_dict(), range(24)))
    assert torch.equal(torch.get_rng_state(), before)
    for state in built[1:]:
        assert all(torch.equal(state[name], weight) for name, weight in built[0].items())


def test_what_a_registered_part_draws_in_any_way_follows_from_the_seed() -> None:
    def draw() -> list[torch.Tensor]:
        with seeded_start(3, "test"):
            return [
                *(
                    torch.rand(2),
                    torch.randn(2),
                    torch.randint(9, (2,)),
                    torch.randperm(4),
                    torch.normal(0.0, 1.0, (2,)),
                ),
                *(torch.empty(2).exponential_(), torch.empty(2).log_normal_(), torch.bernoulli(torch.full((2,), 0.5))),
                *(nn.init.orthogonal_(torch.empty(2, 2)), nn.init.trunc_normal_(torch.empty(2))),
                *(nn.Linear(2, 2).weight, nn.GRUCell(2, 2).weight_hh, nn.MultiheadAttention(2, 1).in_proj_weight),
            ]

    before = torch.get_rng_state()
    first = draw()
    torch.rand(3)
    torch.set_rng_state(before)
    assert all(torch.equal(one, other) for one, other in zip(first, draw(), strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_kept_view_keeps_its_mode() -> None:
    model, rows = load("delivery"), torch.randn(2, 64)
    box = Box(4, 4, 4)
    view = model.in_box(box)
    outputs = view(rows)
    trained = model.train()(rows, box=box)
    assert not torch.equal(trained, outputs)
    torch.testing.assert_close(view(rows), outputs, rtol=0, atol=0)


def test_boxes_that_were_tried_are_not_in_files(monkeypatch) -> None:
    monkeypatch.setattr("energy_flow.core.flow_processor.KEPT_BOXES", 3)
    model = load("maze")
    size = len(pickle.dumps(model))
    for depth in range(9, 19):
        model(torch.randn(1, 54), box=f"3x3x{depth}")
    assert len(model._lattices) == 3
    assert len(pickle.dumps(model)) < size + 1000


def test_a_method_that_is_put_in_place_counts_in_every_step() -> None:
    model, rows = build_model(BUSY, 2), torch.randn(2, 12, dtype=torch.float64)
    plain = model(rows)
    decide = model.carrier.decide

    def stay(top, energy, place):
        return decide(top, energy, place)._replace(energy_value=energy)

    model.carrier.decide = stay
    assert not torch.allclose(model(rows), plain)


@pytest.mark.parametrize("given", ["read-only", "backwards", "big-endian"])
def test_arrays_of_any_kind_are_taken(given: str) -> None:
    model, rows = build_model(BUSY, 2), np.random.default_rng(0).normal(size=(3, 12))
    strange = rows.copy()
    if given == "read-only":
        strange.setflags(write=False)
    elif given == "backwards":
        strange = rows[::-1].copy()[::-1]
    else:
        strange = rows.astype(">f8")
    torch.testing.assert_close(model(strange), model(torch.from_numpy(rows)), rtol=0, atol=0)


def test_what_cannot_be_measured_is_refused_before_a_run() -> None:
    mapper, rows = create_processor(BUSY).mapper, torch.randn(3, 12)
    for inputs, words in (
        (torch.full((3, 12), torch.nan), "inputs holds NaN or infinite numbers"),
        (torch.full((3, 12), torch.inf), "inputs holds NaN or infinite numbers"),
        (torch.randn(3, 7), r"inputs has shape \(3, 7\); give \(rows, width\) with at least one row, width"),
        (torch.randn(12), r"inputs has shape \(12,\)"),
        (torch.randn(0, 12), r"inputs has shape \(0, 12\)"),
    ):
        with pytest.raises(ValueError, match=words):
            mapper.calibrate(inputs, rows)
    mapper.calibrate(rows.numpy(), rows.numpy())
    assert mapper.calibrated == 1
