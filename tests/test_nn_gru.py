"""The carrier's GRU against `torch.nn.GRU`, in both forms: the equations, and the backward pass written out."""

from __future__ import annotations

import pytest
import torch

from energy_flow.core import StackedGRUCell
from energy_flow.core.execution.gru_step import Signal, by_layer, written_out_step
from energy_flow.core.simple_neuron import gelu

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def equations(cell, inputs, hidden):
    return cell(inputs, hidden)


def written_out(cell, inputs, hidden):
    return written_out_step(inputs, hidden, cell.layer_weights())


@pytest.mark.parametrize("form", [equations, written_out])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("inputs", "hidden", "layers", "rows"), [(5, 7, 1, 1), (9, 16, 3, 20), (152, 128, 2, 64)])
def test_nn_gru_values_and_gradients(
    form, dtype: torch.dtype, inputs: int, hidden: int, layers: int, rows: int
) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.GRU(inputs, hidden, layers).to(dtype)
    ours = StackedGRUCell(inputs, hidden, layers).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(rows, inputs, dtype=dtype)
    state = torch.randn(layers, rows, hidden, dtype=dtype)
    results = []
    for step in (lambda s: form(ours, x, s)[0], lambda s: theirs(x.unsqueeze(0), s)[1]):
        start = state.clone().requires_grad_()
        end = step(step(start))
        weights = list((ours if not results else theirs).parameters())
        results.append([end.detach(), *torch.autograd.grad(end.sin().sum(), [start, *weights])])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(
            one, two, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(1, float(two.abs().max()))
        )


@pytest.mark.parametrize("used", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_nn_gru_without_hidden_states_starts_from_zeros(used: tuple[float, float]) -> None:
    """Values and gradients, where states, output, or both are used."""
    ours = StackedGRUCell(5, 7, 2).double()
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    results = []
    for hidden in (None, torch.zeros(2, 6, 7, dtype=torch.float64)):
        states, top = written_out(ours, x, hidden)
        assert torch.equal(states[-1], top)
        parts = [share * part.sin().sum() for share, part in zip(used, (states, top), strict=True) if share]
        gradients = torch.autograd.grad(sum(parts), [x, *ours.parameters()], materialize_grads=True, allow_unused=True)
        results.append([states.detach(), *gradients])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_nn_gru_state_dict_loads_both_ways() -> None:
    theirs, ours = torch.nn.GRU(4, 6, 2), StackedGRUCell(4, 6, 2)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_nn_gru_start_has_the_same_spread() -> None:
    ours = StackedGRUCell(100, 400, 1)
    bound = 400**-0.5
    for weight in ours.parameters():
        assert float(weight.detach().abs().max()) <= bound
        assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize("at_rest", [False, True])
def test_gradients_that_are_written_out_can_be_differentiated_again(at_rest: bool) -> None:
    """Finite differences of the gradient: a backward pass that autograd cannot look into would give nonsense here."""
    torch.manual_seed(3)
    cell = StackedGRUCell(3, 4, 2).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    flat = [weight.detach().requires_grad_() for layer in cell.layer_weights() for weight in layer]

    def function(inputs, states, *weights):
        return written_out_step(inputs, None if at_rest else states, by_layer(weights))

    assert torch.autograd.gradcheck(function, (x, hidden, *flat), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, hidden, *flat), fast_mode=True)


def test_gelu_that_is_written_out_equals_the_equation_and_can_be_differentiated_twice() -> None:
    x = torch.linspace(-6, 6, 50, dtype=torch.float64).view(10, 5).requires_grad_()
    energy = torch.randn(10, 2, dtype=torch.float64, requires_grad=True)
    expected = torch.cat((torch.nn.functional.gelu(x), energy), dim=1)
    torch.testing.assert_close(Signal.apply(x, energy), expected)
    torch.testing.assert_close(gelu(x), torch.nn.functional.gelu(x))
    assert torch.autograd.gradcheck(Signal.apply, (x, energy))
    assert torch.autograd.gradgradcheck(Signal.apply, (x, energy))


def test_gates_in_half_precision_keep_small_numbers() -> None:
    """A new state of .001 from products in bfloat16: 2 sigmoid(2 x) - 1, rounded at every operation, would be 0."""
    cell = StackedGRUCell(1, 1, 1).bfloat16()
    with torch.no_grad():
        for weight in cell.parameters():
            weight.zero_()
        cell.bias_ih_l0[2], cell.bias_ih_l0[1] = 1e-3, -20.0
    zeros = torch.zeros(1, 1, dtype=torch.bfloat16)
    for form in (equations, written_out):
        states, _ = form(cell, zeros, zeros.unsqueeze(0))
        assert float(states.detach()) == pytest.approx(1e-3, rel=0.01)
