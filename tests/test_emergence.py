"""Measures of emergence have the values that are known of traces made by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from energy_flow.analysis import Emergence, Labels, Routes, labels_of
from energy_flow.analysis.counts import CountTable, entropy
from energy_flow.analysis.flux import Flux, concentration, effective_channels, entropy_rate, mean_effective_channels
from energy_flow.analysis.information import LabelInformation
from energy_flow.analysis.intervals import bootstrap, spearman
from energy_flow.analysis.labels import k_means
from energy_flow.analysis.modularity import modularity, shuffled_ends
from energy_flow.analysis.stability import (
    Edges,
    best_correlation,
    correlation,
    rearranged,
    shuffled_stability,
    stability,
    symmetries,
)
from energy_flow.config import Box
from energy_flow.data import PairSet, make_split
from energy_flow.data.pairs import one_size

from .traces import hand_made, straight

BOX = Box(4, 4, 6)
EXACT = {"abs": 1e-6}


def flux_of(trace) -> Flux:
    found = Flux(trace.sites[0] * trace.sites[1], trace.box.depth)
    found.observe(Routes.of(trace))
    return found


def random_trace(samples: int, seed: int = 0):
    """Every flow goes to a site drawn by lot in every step."""
    random = torch.Generator().manual_seed(seed)
    flows = []
    for sample in range(samples):
        for site in range(16):
            ways = torch.randint(4, (BOX.depth, 2), generator=random).tolist()
            ways[0] = [site % 4, site // 4]
            flows.append((sample, site, -1, [(x, y, z) for z, (x, y) in enumerate(ways)]))
    return hand_made(BOX, flows)


def switch(samples: int, swapped: bool = False):
    """One origin; samples of class 0 go one way and those of class 1 another."""
    flows = []
    for sample in range(samples):
        end = 3 if (sample % 2 == 1) != swapped else 0
        flows.append((sample, 5, -1, [(1, 1, 0), (1, 1, 2), (end, end, BOX.depth - 1)]))
    return hand_made(BOX, flows)


def labels(count: int, classes: int = 2) -> Labels:
    return Labels(torch.arange(count) % classes, classes, "by hand")


def watched(trace, classes: Labels) -> Emergence:
    found = Emergence(trace.sites, trace.box.depth, classes)
    found.observe(Routes.of(trace))
    return found


def test_one_straight_channel() -> None:
    trace = hand_made(BOX, [(sample, 6, -1, straight(BOX, 2, 1)) for sample in range(3)])
    flux = flux_of(trace)
    assert effective_channels(flux.map) == [None, *[pytest.approx(1 / 16, **EXACT)] * 5]
    assert mean_effective_channels(flux.map) == pytest.approx(1 / 16, **EXACT)
    assert entropy_rate(flux.start, flux.mass) == pytest.approx(0, **EXACT)
    assert concentration(flux.mass) == pytest.approx(1 / 5, **EXACT)  # one of five edges is the busiest 5 %
    found = watched(trace, labels(3)).measures()
    assert found["drift"].value == found["sideways"].value == 0
    assert found["steps"].value == 5 and found["jump"].value == 1


def test_uniform_noise() -> None:
    trace = random_trace(400)
    flux = flux_of(trace)
    assert mean_effective_channels(flux.map) == pytest.approx(1, abs=0.003)
    assert entropy_rate(flux.start, flux.mass) == pytest.approx(4, abs=0.05)  # log2 of 16 sites
    assert concentration(flux.mass) == pytest.approx(0.05, abs=0.03)
    found = watched(trace, labels(400, 4)).measures()
    for name in ("information_arrival", "information_route", "specialisation"):
        value = found[name]
        assert value.value - value.chance == pytest.approx(0, abs=0.01), name
        assert value.p_value > 0.04, name
    assert found["modularity"].value - found["modularity"].chance == pytest.approx(0, abs=0.02)


def test_two_crossing_beams() -> None:
    box = Box(5, 5, 5)
    beams = [[(z, z, z) for z in range(5)], [(4 - z, z, z) for z in range(5)]]
    trace = hand_made(box, [(0, number, -1, cells) for number, cells in enumerate(beams)])
    flux = flux_of(trace)
    assert effective_channels(flux.map) == [None, *(pytest.approx(count / 25, **EXACT) for count in (2, 1, 2, 2))]
    # Of eight moves with equal mass the two that leave the crossing could be either: one bit each.
    assert entropy_rate(flux.start, flux.mass) == pytest.approx(2 / 8, **EXACT)
    found = watched(trace, labels(1)).measures()
    assert found["drift"].value == pytest.approx(math.hypot(4, 4), **EXACT)
    assert found["sideways"].value == pytest.approx(math.sqrt(2), **EXACT)


def test_a_switch_that_routes_by_class_tells_one_bit() -> None:
    found = watched(switch(200), labels(200)).measures()
    for name in ("information_arrival", "information_route"):
        assert found[name].value == pytest.approx(1, **EXACT)
        assert found[name].chance == pytest.approx(1 / (2 * 200 * math.log(2)), abs=0.004)  # Miller's bias
        assert found[name].p_value == pytest.approx(1 / 21)
    # Half of the moves, the second ones, tell the class.
    assert found["specialisation"].value == pytest.approx(0.5, **EXACT)


def test_a_route_that_leads_to_another_place_from_every_origin_tells_nothing() -> None:
    flows = [
        (sample, site, -1, [(site % 4, site // 4, 0), ((site + 1) % 4, site // 4, 5)])
        for sample in range(20)
        for site in range(16)
    ]
    found = watched(hand_made(BOX, flows), labels(20)).measures()
    assert found["information_arrival"].value == pytest.approx(0, **EXACT)
    assert found["specialisation"].value == pytest.approx(0, **EXACT)


def test_what_a_route_tells_may_be_another_thing_from_every_origin() -> None:
    flows = []
    for sample in range(200):
        for site in (0, 1, 4):
            end = 2 + (sample + site) % 2
            flows.append((sample, site, -1, [(site % 4, site // 4, 0), (end, 0, 5)]))
    found = watched(hand_made(BOX, flows), labels(200)).measures()
    assert found["information_arrival"].value == pytest.approx(1, **EXACT)


def test_the_busiest_edges_are_whole_ones_of_those_in_use() -> None:
    assert concentration(torch.arange(41.0)[1:]) == pytest.approx((40 + 39) / 820, **EXACT)
    assert concentration(torch.arange(43.0)[1:]) == pytest.approx((42 + 41 + 40) / 903, **EXACT)  # 2.1 of 42 is 3


def test_flux_is_the_mass_that_moves() -> None:
    trace = hand_made(BOX, [(0, site, -1, straight(BOX, site, 0)) for site in (0, 1)])
    trace = dataclasses.replace(trace, mass=torch.where(trace.flow_id == 0, 0.75, 0.25))
    flux = flux_of(trace)
    assert flux.map[1:, :2].tolist() == [[0.75, 0.25]] * 5
    assert flux.edges(torch.arange(2)).tolist() == [[0, 0, 0, 1], [1, 0, 1, 1]]


def test_permuted_moves_keep_the_flux_and_lose_the_class() -> None:
    routes = Routes.of(switch(200))
    dealt = routes.permuted(torch.Generator().manual_seed(0))
    found = Emergence(routes.sites, routes.depth, labels(200))
    found.observe(dealt)
    assert torch.equal(flux_of(switch(200)).mass, found.flux.mass)
    assert found.measures()["information_arrival"].value < 0.05


def test_batches_add_up_to_the_whole() -> None:
    trace, classes = random_trace(40), labels(40, 4)
    whole, parts = watched(trace, classes), Emergence(trace.sites, trace.box.depth, classes)
    for first in (0, 25):
        kept = (trace.sample >= first) & (trace.sample < (25 if first == 0 else 40))
        part = trace.records(kept.nonzero().squeeze(1))
        part = dataclasses.replace(part, sample=part.sample - first)
        parts.observe(Routes.of(part), first)
    found = parts.measures()
    for name, value in whole.measures().items():
        assert found[name].value == pytest.approx(value.value, abs=1e-9), name


def test_memory_follows_what_is_different() -> None:
    few, many = (watched(switch(count), labels(count)) for count in (20, 2000))
    for name in ("_of_arrival", "_of_route", "_of_flux"):
        tables = [
            [*one._all, *one._label_given, one._given, one._what_given]
            for one in (getattr(few, name), getattr(many, name))
        ]
        assert [len(table.keys) for table in tables[1]] == [len(table.keys) for table in tables[0]]
    assert len(few.flux.mass) == len(many.flux.mass) == 3


def test_children_are_of_the_origin_of_their_ancestor() -> None:
    trunk = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 5)]
    child, grandchild = [(0, 0, 1), (1, 0, 3), (3, 0, 5)], [(1, 0, 3), (2, 2, 4)]
    trace = hand_made(BOX, [(0, 0, -1, trunk), (0, 16, 0, child), (0, 17, 16, grandchild)], born={1: 2, 2: 3})
    routes = Routes.of(trace)
    assert routes.origin.tolist() == [0, 0, 0]
    assert routes.generation.tolist() == [0, 1, 2]
    assert routes.parent.tolist() == [-1, 0, 1]
    assert routes.arrival.tolist() == [0, 3, -1]
    assert routes.steps.tolist() == [3, 2, 1]
    found = watched(trace, labels(1)).measures()
    assert found["children"].value == 2 and found["tree_depth"].value == 2
    assert found["faded"].value == pytest.approx(1 / 3) and found["longest_jump"].value == 3


def test_a_parent_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="flow 16 of sample 0 has the parent 0, which is not in the trace"):
        Routes.of(hand_made(BOX, [(0, 16, 0, [(0, 0, 1), (0, 0, 5)])]))


def test_same_nodes_are_the_same_route_whoever_takes_it() -> None:
    flows = [
        (0, 0, -1, [(0, 0, 0), (1, 0, 2), (2, 0, 5)]),
        (1, 0, -1, [(0, 0, 0), (1, 0, 2), (2, 0, 5)]),
        (2, 0, -1, [(0, 0, 0), (1, 0, 3), (2, 0, 5)]),
    ]
    route = Routes.of(hand_made(BOX, flows)).route.tolist()
    assert route[0] == route[1] != route[2]


def test_tables_add_up_by_key() -> None:
    table = CountTable()
    table.add(torch.tensor([3, 1, 3]))
    table.add(torch.tensor([1, 2]), torch.tensor([0.5, 2.0]))
    assert table.keys.tolist() == [1, 2, 3] and table.weights.tolist() == [1.5, 2, 2]
    assert entropy(torch.tensor([1.0, 1, 2, 0])) == pytest.approx(1.5, **EXACT)


def test_information_is_that_of_the_table() -> None:
    found = LabelInformation(torch.tensor([0, 0, 1, 1]), permutations=5)
    found.observe(torch.tensor([7, 7, 7, 9]), torch.zeros(4, dtype=torch.int64), torch.arange(4))
    # H(y) = 1; y given X = 7 has two of class 0 and one of class 1; given X = 9 it is known.
    known = 3 / 4 * entropy(torch.tensor([2.0, 1.0]))
    assert found.result().value == pytest.approx(1 - known, **EXACT)


@pytest.mark.parametrize(("face", "count"), [((3, 3), 8), ((4, 2), 4), ((5, 1), 2), ((1, 1), 1)])
def test_a_face_has_as_many_symmetries(face: tuple[int, int], count: int) -> None:
    found = symmetries(*face)
    assert len(found) == count
    columns, rows = face
    place = torch.stack((torch.arange(columns * rows) % columns, torch.arange(columns * rows) // columns), dim=1)
    distance = torch.cdist(place.float(), place.float())
    for order in found:
        assert torch.equal(distance[order][:, order], distance)  # neighbours stay neighbours


def test_a_turned_flux_is_the_same() -> None:
    flux = flux_of(random_trace(2)).run
    for order in symmetries(4, 4):
        assert best_correlation(flux, rearranged(flux, order), (4, 4)) == pytest.approx(1, **EXACT)
    other = flux_of(random_trace(2, seed=1)).run
    assert abs(correlation(flux, other, 16)) < 0.2
    assert stability([flux, flux, other], (4, 4)) < 0.6
    assert shuffled_stability([flux, flux], (4, 4)) < 0.2


def test_a_face_is_rearranged_by_the_site_that_comes_to_each_place() -> None:
    moved = rearranged(Edges(torch.tensor([1]), torch.tensor([3 + 2]), torch.ones(1)), torch.tensor([1, 2, 0]))
    assert (moved.start.item(), moved.end.item()) == (0, 3 + 1)


def test_correlation_is_pearsons_over_all_edges_of_a_plane() -> None:
    first, second = torch.rand(2, 9, 9, dtype=torch.float64)
    edges = torch.arange(81)
    runs = [Edges(edges // 9, edges % 9 + 9, flux.flatten()) for flux in (first, second)]
    wanted = torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]
    assert correlation(*runs, 9) == pytest.approx(float(wanted), **EXACT)
    even = Edges(edges // 9, edges % 9 + 9, torch.ones(81, dtype=torch.float64))
    assert correlation(runs[0], even, 9) is None


def test_shuffled_graphs_keep_degrees_and_planes() -> None:
    flux = flux_of(random_trace(3))
    ends = shuffled_ends(flux.start, flux.end, 16, torch.Generator().manual_seed(0))
    assert not torch.equal(ends, flux.end)
    assert torch.equal(ends.bincount(), flux.end.bincount())
    assert torch.equal(ends // 16, flux.end // 16)


def test_two_halves_that_never_meet_are_more_modular_than_their_degrees() -> None:
    random = torch.Generator().manual_seed(0)
    flows = []
    for sample in range(40):
        for site in range(16):
            half = torch.randint(2, (BOX.depth,), generator=random) + 2 * (site % 4 // 2)
            rows = torch.randint(4, (BOX.depth,), generator=random).tolist()
            cells = zip(half.tolist(), rows, range(BOX.depth), strict=True)
            flows.append((sample, site, -1, list(cells)))
    flux = flux_of(hand_made(BOX, flows))
    found = modularity(flux.start, flux.end, flux.mass, 16)
    assert found.value > 0.5 and found.value > found.shuffled + 10 * found.shuffled_std
    chains = flux_of(hand_made(BOX, [(0, site, -1, straight(BOX, site % 4, site // 4)) for site in range(16)]))
    found = modularity(chains.start, chains.end, chains.mass, 16)
    assert found.value == pytest.approx(1 - 1 / 16, **EXACT) == pytest.approx(found.shuffled, **EXACT)


def test_heavy_edges_hold_parts_together() -> None:
    start, end = torch.cartesian_prod(torch.arange(8), torch.arange(8, 16)).t()
    mass = torch.where(start // 4 == (end - 8) // 4, 10.0, 0.1)
    assert modularity(start, end, mass, 8).value == pytest.approx(0.5, abs=0.02)


def test_rank_correlation() -> None:
    first = torch.tensor([1.0, 2, 3, 4, 5])
    assert spearman(first, first.exp()) == pytest.approx(1, **EXACT)
    assert spearman(first, -first) == pytest.approx(-1, **EXACT)
    assert spearman(torch.tensor([1.0, 1, 2, 3]), torch.tensor([2.0, 4, 1, 3])) == pytest.approx(-(22.5**-0.5), **EXACT)
    assert spearman(first, torch.ones(5)) is None


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    held = 0
    for seed in range(40):
        effect = bootstrap(torch.randn(60, generator=torch.Generator().manual_seed(seed)), seed)
        held += effect.low <= 0 <= effect.high
    assert 33 <= held <= 40
    spread = bootstrap(torch.randn(200) + 3 * torch.randn(5, 1))
    assert spread.high - spread.low > 1  # the variants differ, and there are few


def test_clusters_are_found_and_named() -> None:
    middles = 10 * torch.eye(3)
    rows = middles.repeat_interleave(30, dim=0) + 0.1 * torch.randn(90, 3)
    found = labels_of(PairSet(rows, rows), None, clusters=3)
    assert found.source == "3 clusters of the targets (k-means, seed 0)"
    assert [len(part.unique()) for part in found.values.split(30)] == [1, 1, 1]
    assert len(found.values.unique()) == 3
    assert torch.allclose(k_means(rows, 3).sum(0), torch.full((3,), 10.0).double(), atol=0.1)
    with pytest.raises(ValueError, match="clusters = 1 for 90 samples"):
        labels_of(PairSet(rows, rows), None, clusters=1)


def test_tasks_say_their_classes_and_how_hard_a_row_is() -> None:
    from energy_flow.data import TASKS
    from energy_flow.data.tasks import delivery_sites

    pairs = one_size("delivery", make_split("delivery", "test", 64, options={"orders": 16}))
    found = labels_of(pairs, "delivery")
    assert found.source == "the classes of the task delivery"
    sites = delivery_sites(pairs.inputs[:], orders=16)
    same = (sites[:, None] == sites[None]).all(2)
    assert torch.equal(found.values[:, None] == found.values[None], same)
    maze = one_size("maze", make_split("maze", "test", 8, faces=[(4, 4)]))
    assert torch.equal(
        TASKS["maze"].difficulty(maze.inputs[:], maze.targets[:]), maze.targets[:].view(8, 16, 2)[..., 1].sum(1)
    )
    sudoku = one_size("sudoku-6", make_split("sudoku-6", "test", 8))
    empty = TASKS["sudoku-6"].difficulty(sudoku.inputs[:], sudoku.targets[:])
    assert ((empty >= 10) & (empty <= 18)).all()
