"""What flows are worth: the parts add up, and are what taking out tells where flows do not meet."""

from __future__ import annotations

import pytest
import torch

from energy_flow.analysis import attribute
from energy_flow.core import create_processor

from .strategies import build_model
from .test_any_box import GRID
from .test_laws import BUSY


def test_the_parts_add_up_though_flows_snap_split_and_fade() -> None:
    processor = build_model(BUSY, 2)
    row = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = attribute(processor, row, lambda outputs: outputs.sin().sum(1), orders=3)
    whole = float(processor.run(row.unsqueeze(0)).output.detach().sin().sum())
    assert found.whole == pytest.approx(whole, abs=1e-9)
    assert float(found.values.sum()) == pytest.approx(found.whole - found.nothing, abs=1e-9)
    assert (found.values.abs() > 1e-6).all()
    assert found.on_face(BUSY).shape == (2, 3)


def test_who_is_taken_out_leaves_no_child() -> None:
    processor = build_model(BUSY, 2)
    row = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert int(processor.run(row.unsqueeze(0)).stats.spawned[0]) > 0  # children of the first step
    found = attribute(processor, row, lambda outputs: outputs.abs().sum(1), orders=1)
    assert found.nothing == 0


def test_flows_that_do_not_meet_are_worth_what_they_bring() -> None:
    """An untrained lattice of tied faces gives every site back what entered there."""
    config = GRID.replace(output_embedding_dim=12, output_scale=1.0, center_inputs=False)
    processor = create_processor(config).double()
    row = torch.randn(12, dtype=torch.float64)
    found = attribute(processor, row, lambda outputs: outputs.sum(1), orders=2)
    torch.testing.assert_close(found.values, row.view(6, 2).sum(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.error, torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-9)


def test_rows_and_orders_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"row has shape \(2, 12\), orders = 4; give one row"):
        attribute(create_processor(BUSY), torch.ones(2, 12), lambda outputs: outputs.sum(1), orders=4)
