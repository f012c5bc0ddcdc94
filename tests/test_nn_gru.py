"""The carrier's GRU against `torch.nn.GRU`."""

from __future__ import annotations

import pytest
import torch

from energy_flow.core import StackedGRUCell

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("inputs", "hidden", "layers", "rows"), [(5, 7, 1, 1), (9, 16, 3, 20), (152, 128, 2, 64)])
def test_nn_gru_values_and_gradients(dtype: torch.dtype, inputs: int, hidden: int, layers: int, rows: int) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.GRU(inputs, hidden, layers).to(dtype)
    ours = StackedGRUCell(inputs, hidden, layers).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(rows, inputs, dtype=dtype)
    state = torch.randn(layers, rows, hidden, dtype=dtype)
    results = []
    for step in (lambda s: ours(x, s)[0], lambda s: theirs(x.unsqueeze(0), s)[1]):
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
        states, top = ours(x, hidden)
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
