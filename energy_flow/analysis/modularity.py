"""Whether the graph of the flux falls into parts, more than its degrees alone make it.

Shapes: `E` edges, `S` sites.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST_EDGES = 20_000  # of which parts are looked for
SHUFFLES = 10


class Modularity(NamedTuple):
    """Modularity of the best parts that were found, and of those of shuffled graphs."""

    value: float
    shuffled: float  # mean over the shuffles
    shuffled_std: float


def modularity(
    start: Tensor, end: Tensor, mass: Tensor, sites: int, shuffles: int = SHUFFLES, seed: int = 0
) -> Modularity | None:
    """Newman's modularity (2006) of the parts that the Louvain method (Blondel et al. 2008) finds in the flux.

    A shuffle deals the ends of the edges out anew among all edges that lead from the same plane to the same plane. So
    every node keeps how many edges leave and reach it, and edges go on leading ahead (configuration model, Maslov and
    Sneppen 2002).

    Args:
        start: (E,) int64, the node that each edge leaves.
        end: (E,) int64, the node that it reaches.
        mass: (E,) that moved over each.
        sites: S.
        shuffles: how many shuffled graphs there are.
        seed: of the shuffles, and of the order in which Louvain visits nodes.

    Returns:
        None where there are more edges than parts are looked for in.
    """
    if len(mass) > MOST_EDGES:
        return None
    random = torch.Generator().manual_seed(seed)
    value = _of_best_parts(start, end, mass, seed)
    found = []
    for _ in range(shuffles):
        found.append(_of_best_parts(start, shuffled_ends(start, end, sites, random), mass, seed))
    chance = torch.tensor(found, dtype=torch.float64)
    return Modularity(value, float(chance.mean()), float(chance.std(correction=0)))


def shuffled_ends(start: Tensor, end: Tensor, sites: int, random: torch.Generator) -> Tensor:
    """(E,) int64 the ends, dealt out anew among the edges that lead from the same plane to the same plane."""
    planes = torch.stack((start // sites, end // sites), dim=1)
    kind = planes.unique(dim=0, return_inverse=True)[1]
    sorted_rows = kind.argsort(stable=True)
    drawn = torch.rand(len(end), generator=random).argsort()
    drawn = drawn[kind[drawn].argsort(stable=True)]  # the rows of each kind in a random order
    found = end.clone()
    found[sorted_rows] = end[drawn]
    return found


def _of_best_parts(start: Tensor, end: Tensor, mass: Tensor, seed: int) -> float:
    try:
        import networkx as nx
    except ImportError as error:  # torch brings it
        raise ImportError("modularity needs networkx: pip install 'energy-flow[viz]'") from error

    graph = nx.Graph()
    for first, second, weight in zip(start.tolist(), end.tolist(), mass.tolist(), strict=True):
        there = graph.get_edge_data(first, second, {"weight": 0.0})["weight"]
        graph.add_edge(first, second, weight=there + weight)
    parts = nx.community.louvain_communities(graph, weight="weight", seed=seed)
    return float(nx.community.modularity(graph, parts, weight="weight"))
