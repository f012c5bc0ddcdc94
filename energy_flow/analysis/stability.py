"""How alike the flux of several runs is, however the face is turned.

Shapes: `S` sites (columns x rows, row by row), `E` edges in use. A node is a site of a plane, `z * S + site`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from .counts import CountTable


class Edges(NamedTuple):
    """The flux of one run."""

    start: Tensor  # (E,) int64, the node that each edge leaves
    end: Tensor  # (E,) int64, the node that it reaches
    mass: Tensor  # (E,) that moved over each


def symmetries(columns: int, rows: int) -> list[Tensor]:
    """The turns and reflections that bring a face onto itself: 8 of a square, 4 of an oblong, 2 of a line.

    Returns:
        (S,) int64 each: the site that comes to each place.
    """
    face = torch.arange(columns * rows).view(rows, columns)
    turned = [face, face.flip(0), face.flip(1), face.flip(0, 1)]
    if columns == rows:
        turned += [one.t() for one in turned]
    return list({tuple(one.flatten().tolist()): one.flatten() for one in turned}.values())


def rearranged(edges: Edges, order: Tensor) -> Edges:
    """The same flux on a face whose sites lie otherwise.

    Args:
        edges: of one run.
        order: (S,) int64, the site that comes to each place.
    """
    place, sites = order.argsort(), len(order)
    start, end = (node - node % sites + place[node % sites] for node in (edges.start, edges.end))
    return Edges(start, end, edges.mass)


def correlation(first: Edges, second: Edges, sites: int) -> float | None:
    """Pearson's correlation of two runs' flux over all edges from plane to plane, used or not.

    From each edge's flux the mean of all S^2 edges between its planes is taken off, so that it says nothing which
    planes flows jump to.

    Args:
        first: of one run.
        second: of another.
        sites: S.

    Returns:
        None where one of them is even.
    """
    nodes = int(max(one.max() for run in (first, second) for one in run[:2])) + 1
    tables = [_table(run.start * nodes + run.end, run.mass) for run in (first, second)]
    planes = [_table(_kind(table.keys, nodes, sites), table.weights) for table in tables]
    found = [
        _product(tables[one], tables[other]) - _product(planes[one], planes[other]) / sites**2
        for one, other in ((0, 1), (0, 0), (1, 1))
    ]
    sizes = [_product(table, table) for table in tables]
    if min(found[1] / sizes[0], found[2] / sizes[1]) < 1e-12:
        return None
    return found[0] / (found[1] * found[2]) ** 0.5


def best_correlation(first: Edges, second: Edges, face: tuple[int, int]) -> float | None:
    """The largest correlation of two runs' flux over the symmetries of the face; None where one is even."""
    found = [correlation(first, rearranged(second, order), face[0] * face[1]) for order in symmetries(*face)]
    return max((value for value in found if value is not None), default=None)


def stability(runs: Sequence[Edges], face: tuple[int, int]) -> float | None:
    """The mean of `best_correlation` over all pairs of runs; None where every pair has one that is even.

    Args:
        runs: the flux of each, two at least.
        face: columns and rows.
    """
    return _mean([best_correlation(first, second, face) for first, second in combinations(runs, 2)])


def shuffled_stability(runs: Sequence[Edges], face: tuple[int, int], draws: int = 20, seed: int = 0) -> float | None:
    """`stability` where every run's sites are in a random order of their own: what the best of 8 finds by chance."""
    random = torch.Generator().manual_seed(seed)
    sites = face[0] * face[1]
    found = []
    for _ in range(draws):
        moved = [rearranged(run, torch.randperm(sites, generator=random)) for run in runs]
        found.append(stability(moved, face))
    return _mean(found)


def _table(keys: Tensor, weights: Tensor) -> CountTable:
    table = CountTable()
    table.add(keys, weights)
    return table


def _kind(edges: Tensor, nodes: int, sites: int) -> Tensor:
    """From which plane to which an edge leads, as one number."""
    return edges // nodes // sites * nodes + edges % nodes // sites


def _product(first: CountTable, second: CountTable) -> float:
    """Sum over keys of the products of their weights."""
    place = torch.searchsorted(second.keys, first.keys).clamp_max(len(second.keys) - 1)
    both = second.keys[place] == first.keys
    return float((first.weights * second.weights[place])[both].sum())


def _mean(found: Sequence[float | None]) -> float | None:
    values = [value for value in found if value is not None]
    return sum(values) / len(values) if values else None
