"""Geometry of the faces, and the public methods of lattice, carrier, neuron and processor."""

from __future__ import annotations

import pytest
import torch

from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import EnergyLattice, SimpleNeuron, create_processor
from energy_flow.core.execution.regroup import RegroupHidden, group_rows
from energy_flow.core.flows import ARRIVED, FADED, MOVING, Arrivals
from energy_flow.core.neighbourhood import neighbour_table
from energy_flow.core.readers import site_nodes
from energy_flow.core.splitting import _strongest_first

from .strategies import build_model
from .test_laws import BUSY

SPACING = torch.tensor([2.0, 2.5, 1.0])  # cells of a site spacing along x and y, and a cell along z
LATTICE = EnergyLattice(BUSY)  # 6 x 5 x 7 cells, 3 x 2 sites: nodes x 1, 3, 5 and y 1, 3


def arrivals(positions: list[list[float]], energies: list[list[float]], masses: list[float] | None = None) -> Arrivals:
    count = len(positions)
    zeros = torch.zeros(count, dtype=torch.long)
    energy = torch.tensor(energies) if energies else torch.ones(count, 4)
    mass = torch.ones(count) if masses is None else torch.tensor(masses)
    return Arrivals(energy, mass, torch.tensor(positions), zeros)


def test_nodes_are_the_cells_nearest_to_the_middle_of_each_patch() -> None:
    assert site_nodes(6, 3).tolist() == [1, 3, 5]
    assert site_nodes(20, 8).tolist() == [1, 3, 6, 8, 11, 13, 16, 18]
    assert site_nodes(1, 1).tolist() == [0]


@pytest.mark.parametrize("preset", ["tiny", "debug", "experiment", "optimized"])
def test_every_site_launches_from_a_cell_of_its_own_patch(preset: str) -> None:
    config = create_config(preset)
    lattice = EnergyLattice(config)
    flows = lattice.place_initial_energy(torch.ones(2, config.num_sites, config.energy_dim))
    assert flows.size == 2 * config.num_sites
    assert torch.equal(lattice.site_of(flows.position), torch.arange(config.num_sites).repeat(2))
    assert torch.all(flows.position[:, 2] == 0)
    assert torch.all(flows.mass == 1)


def test_patches_are_equal() -> None:
    config = create_config("optimized")
    cells = torch.cartesian_prod(torch.arange(100.0), torch.arange(100.0), torch.zeros(1))
    per_site = torch.bincount(EnergyLattice(config).site_of(cells), minlength=config.num_sites)
    assert int(per_site.min()) == 12
    assert int(per_site.max()) == 20


def test_neighbour_table_lists_the_3_x_3_around() -> None:
    table = neighbour_table(3, 2)
    assert table[1].tolist() == [6, 6, 6, 0, 1, 2, 3, 4, 5]
    assert table[3].tolist() == [6, 0, 1, 6, 3, 4, 6, 6, 6]


def test_settling_snaps_inside_and_stays_continuous_on_the_face() -> None:
    position = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 5.0], [5.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    stride = torch.tensor([[0.7, 0.0, 1.4], [0.7, 0.1, 1.4], [3.0, -9.0, 1.0], [0.0, 0.0, 90.0]])
    moved = LATTICE.settle(position + stride * SPACING)
    expected = [[2.0, 1.0, 1.0], [2.4, 1.25, 6.0], [5.0, 0.0, 1.0], [0.0, 0.0, 6.0]]
    torch.testing.assert_close(moved, torch.tensor(expected))


def test_settling_passes_the_gradient_straight_through() -> None:
    stride = torch.tensor([[0.3, 0.3, 1.2]], requires_grad=True)
    LATTICE.settle(torch.tensor([[3.0, 2.0, 1.0]]) + stride * SPACING).sum().backward()
    assert stride.grad is not None
    torch.testing.assert_close(stride.grad, torch.tensor([[2.0, 2.5, 1.0]]))


def test_a_flow_between_sites_is_shared_by_the_four_nearest() -> None:
    energies, mass = LATTICE.collect_output_energy(arrivals([[2.5, 1.5, 6.0]], [[4.0, 0.0, 0.0, 0.0]]), 1)
    weights = torch.tensor([[0.25 * 0.75, 0.75 * 0.75, 0.0, 0.25 * 0.25, 0.75 * 0.25, 0.0]])
    torch.testing.assert_close(mass, weights)
    torch.testing.assert_close(energies[..., 0], 4 * weights)


def test_alone_undiminished_family_adds_up_crowds_average() -> None:
    node = [1.0, 1.0, 6.0]
    alone, _ = LATTICE.collect_output_energy(arrivals([node], [[3.0] * 4], [0.4]), 1)
    family, _ = LATTICE.collect_output_energy(arrivals([node] * 2, [[3.0] * 4, [1.0] * 4], [0.75, 0.25]), 1)
    crowd, mass = LATTICE.collect_output_energy(arrivals([node] * 4, [[3.0] * 4, [1.0] * 4, [2.0] * 4, [2.0] * 4]), 1)
    assert (float(alone[0, 0, 0]), float(family[0, 0, 0]), float(crowd[0, 0, 0])) == (3.0, 4.0, 2.0)
    assert float(mass.sum()) == 4.0


def test_samples_do_not_meet_on_the_output_face() -> None:
    two = arrivals([[1.0, 1.0, 6.0]] * 2, [[1.0] * 4, [2.0] * 4])._replace(sample=torch.tensor([0, 2]))
    energies, _ = LATTICE.collect_output_energy(two, 3)
    assert energies[:, 0, 0].tolist() == [1.0, 0.0, 2.0]


def test_get_active_flows_keeps_the_rows_inside() -> None:
    flows = create_processor(BUSY).launch(torch.ones(1, 12))
    outcome = torch.tensor([MOVING, ARRIVED, MOVING, FADED, FADED, MOVING])
    assert LATTICE.get_active_flows(flows, outcome).flow_id.tolist() == [0, 2, 5]


def test_can_spawn_and_spawn() -> None:
    processor = create_processor(BUSY)
    assert processor.carrier.can_spawn(torch.tensor([0.39, 0.4, 2.0])).tolist() == [False, True, True]
    parents = processor.launch(torch.ones(1, 12)).rows(torch.tensor([0, 3]))
    children = processor.carrier.spawn(
        parents, energy=parents.energy / 4, share=torch.tensor([0.25, 0.25]), flow_id=torch.tensor([6, 7])
    )
    assert children.mass.tolist() == [0.25, 0.25]
    assert children.parent_id.tolist() == [0, 3]
    assert torch.equal(children.position, parents.position)


def after_of(carrier, hidden, group) -> torch.Tensor:
    after = RegroupHidden.apply(hidden, carrier.child_offset, group)
    assert isinstance(after, torch.Tensor)
    return after


def test_hidden_states_are_handed_on_to_survivors_and_children() -> None:
    """Values and gradients equal those of a gather and a sum."""
    carrier = create_processor(BUSY).double().carrier
    hidden = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    moving = torch.tensor([True, False, True, True, False])
    accepted = torch.tensor([[True, True], [False, True], [False, False], [True, False], [False, False]])
    group = group_rows(moving, accepted, survivors=3, newborn=4)
    assert group.stay.tolist() == [0, 2, 3]
    assert (group.parent.tolist(), group.child.tolist()) == ([0, 0, 1, 3], [0, 1, 1, 0])
    assert torch.equal(
        carrier.child_states(hidden[:, group.parent], group.child), after_of(carrier, hidden, group)[:, 3:]
    )

    after = after_of(carrier, hidden, group)
    expected = torch.cat((hidden[:, [0, 2, 3]], hidden[:, [0, 0, 1, 3]] + carrier.child_offset[:, [0, 1, 1, 0]]), dim=1)
    torch.testing.assert_close(after, expected, rtol=0, atol=0)
    pull = torch.randn_like(after)
    for ours, theirs in zip(
        *(torch.autograd.grad((one * pull).sum(), (hidden, carrier.child_offset)) for one in (after, expected)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_rows_are_left_alone_where_nobody_leaves_or_comes() -> None:
    processor = create_processor(BUSY.replace(max_children=0))
    result = processor.step(processor.launch(torch.ones(2, 12)))
    assert result.flows is result.moved
    assert result.counts == (12, 0, 0, 0)
    weak = processor.launch(torch.ones(2, 12) * torch.tensor([[1.0], [1e-3]]))
    result = processor.step(weak)
    assert result.flows.sample.tolist() == [0] * 6
    assert result.counts == (6, 0, 6, 0)


def test_a_flow_that_goes_alone_keeps_what_entered_in_its_own_sample() -> None:
    config = BUSY.replace(max_children=0, energy_rule="origin", features=("recall", "energy"))
    processor = build_model(config, 5)
    flows = processor.launch(torch.stack((torch.ones(12), -torch.ones(12))).double())
    together = processor.step(flows).moved.position
    with torch.no_grad():
        for row in (1, 7):
            alone = processor.propagate_flow(flows.rows(torch.tensor([row])), flows.position[row])
            assert alone is not None
            torch.testing.assert_close(alone, together[row])


def test_propagate_flow_gives_the_next_position_or_none() -> None:
    processor = create_processor(BUSY)
    flow = processor.launch(torch.ones(2, 12)).rows(torch.tensor([7]))
    with torch.no_grad():
        new = processor.propagate_flow(flow, torch.tensor([3.0, 1.0, 2.0]))
        faded = processor.propagate_flow(flow._replace(energy=flow.energy * 1e-3), torch.tensor([3.0, 1.0, 2.0]))
    assert new is not None
    assert new.tolist() == [3.0, 1.0, 3.0]
    assert faded is None
    with pytest.raises(ValueError, match="flow has 6 rows"):
        processor.propagate_flow(processor.launch(torch.ones(1, 12)), torch.zeros(3))


@pytest.mark.parametrize(("features", "blocks"), [("none", 0), ("sample", 1), ("site", 2), ("neighbours", 10)])
def test_compute_features_scales_coordinates_once_and_fits_the_neuron(features: str, blocks: int) -> None:
    config = BUSY.replace(features=features)
    lattice, neuron = EnergyLattice(config), SimpleNeuron(config)
    flows = lattice.place_initial_energy(torch.ones(1, 6, 4))
    corner = flows._replace(position=torch.tensor([[5.0, 4.0, 6.0]]).repeat(6, 1))
    computed = neuron.compute_features(corner.position, corner.energy, lattice.perceive(corner))
    assert computed.shape == (6, 3 + 4 + blocks * 5) == (6, neuron.input_dim)
    assert computed[0, :3].tolist() == [1.0, 1.0, 1.0]
    assert neuron(computed).shape == (6, config.neuron_output_dim)


def test_neurons_perceive_their_neighbours_and_no_one_else() -> None:
    config = EnergyConfig.from_dict(
        BUSY.to_dict() | {"lattice_width": 10, "sites": (5, 2), "features": "neighbours", "energy_dim": 4}
    )
    lattice, neuron = EnergyLattice(config), SimpleNeuron(config)
    sites = torch.zeros(1, 10, 4)
    sites[0, 0] = 1
    flows = lattice.place_initial_energy(sites)
    around = neuron.compute_features(flows.position, flows.energy, lattice.perceive(flows))[:, 7:52].view(10, 9, 5)
    feels = (around[..., :4] != 0).any(2).any(1)
    assert feels.nonzero().flatten().tolist() == [0, 1, 5, 6]


def test_fully_trained_parts_are_in_one_state_dict() -> None:
    processor = build_model(BUSY, 0)
    parts = {name.split(".")[0] for name in processor.state_dict()}
    assert parts == {"neuron", "carrier", "mapper"}


def test_statistics_report_the_mean_path_in_steps() -> None:
    config = BUSY.replace(max_children=0, initial_steps=3)
    result = create_processor(config).run(torch.ones(2, 12))
    assert result.stats.path_length.tolist() == [3.0, 3.0]
    assert result.stats.steps == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_strongest_children_come_first_and_those_that_may_not_start_last(dtype: torch.dtype) -> None:
    strength = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.5, 1e-30, 3.0, -1.0], dtype=dtype)
    sample = torch.tensor([1, 1, 1, 1, 1, 0, 0, 1])
    assert _strongest_first(strength, sample).tolist() == [6, 5, 3, 0, 4, 2, 1, 7]
