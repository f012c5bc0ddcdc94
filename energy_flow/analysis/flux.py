"""The flux of mass over the edges of the lattice, and what it says of channels.

Shapes: `S` sites, `D` planes, `E` edges that something moved over. A node is a site of a plane, `z * S + site`; an edge
leads from one node to another.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .counts import CountTable, entropy
from .routes import Routes
from .stability import Edges

BUSIEST = 0.05  # share of the edges that concentration looks at and a lesion blocks


class Flux:
    """Mass that moved over each edge, added up over all samples.

    Args:
        sites: S.
        depth: D.
    """

    def __init__(self, sites: int, depth: int) -> None:
        self.sites, self.depth = sites, depth
        self._table = CountTable()

    def observe(self, routes: Routes) -> None:
        """Add the moves of some samples."""
        self._table.add(routes.start * self._nodes + routes.end, routes.mass)

    @property
    def start(self) -> Tensor:
        """(E,) int64, the node that each edge leaves."""
        return self._table.keys // self._nodes

    @property
    def end(self) -> Tensor:
        """(E,) int64, the node that each edge reaches."""
        return self._table.keys % self._nodes

    @property
    def mass(self) -> Tensor:
        """(E,) float64, what moved over each."""
        return self._table.weights

    @property
    def run(self) -> Edges:
        """All edges in use."""
        return Edges(self.start, self.end, self.mass)

    @property
    def map(self) -> Tensor:
        """(D, S) mass that reached each node by a move."""
        found = torch.zeros(self._nodes, dtype=torch.float64).index_add(0, self.end, self.mass)
        return found.view(self.depth, self.sites)

    def edges(self, chosen: Tensor) -> Tensor:
        """(K,) numbers of edges to (K, 4) int64: site from, z from, site to, z to."""
        start, end = self.start[chosen], self.end[chosen]
        return torch.stack((start % self.sites, start // self.sites, end % self.sites, end // self.sites), dim=1)

    @property
    def _nodes(self) -> int:
        return self.sites * self.depth


def effective_channels(flux: Tensor) -> list[float | None]:
    """Of every plane, the share of its sites that carry its flux, as if each carried as much: `exp(H_z) / S`.

    `H_z` is the entropy (in nats) of the flux over the sites of plane z; its exponential is the Hill number of order 1
    (Hill 1973, Jost 2006). 1 is flux spread evenly, 1 / S a single channel.

    Args:
        flux: (D, S) mass that reached each node.

    Returns:
        D numbers; None for a plane that no flow stood in.
    """
    sites = flux.shape[1]
    return [min(1.0, 2 ** entropy(plane) / sites) if plane.sum() > 0 else None for plane in flux]


def mean_effective_channels(flux: Tensor) -> float:
    """`effective_channels`, the mean over planes, each with the share of the flux that reached it."""
    found = [0.0 if value is None else value for value in effective_channels(flux)]
    return float((torch.tensor(found, dtype=torch.float64) * flux.sum(1)).sum() / flux.sum())


def concentration(mass: Tensor, share: float = BUSIEST) -> float:
    """Share of the flux that moves over the busiest edges.

    Args:
        mass: (E,) of the edges that something moved over.
        share: of them that count as the busiest, rounded up to whole edges.
    """
    most = mass.sort(descending=True).values[: busiest_count(len(mass), share)]
    return float(most.sum() / mass.sum())


def busiest_count(edges: int, share: float = BUSIEST) -> int:
    """How many of E edges are the busiest."""
    return max(1, math.ceil(share * edges - 1e-9))


def entropy_rate(start: Tensor, mass: Tensor) -> float:
    """Bits that a move takes to be told, where one knows the node that it leaves: `-sum p(i, j) log2 p(j | i)`.

    The routes are read as a Markov chain of first order over nodes (Shannon 1948, Cover and Thomas 2006, section 4.2),
    and its probabilities are the shares of the flux. 0 is a route for each node, log2(S) a uniform choice of the site.

    Args:
        start: (E,) int64, the node that each edge leaves.
        mass: (E,) that moved over each.
    """
    nodes = torch.zeros(int(start.max()) + 1, dtype=torch.float64).index_add(0, start, mass.double())
    return entropy(mass) - entropy(nodes)
