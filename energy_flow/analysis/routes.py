"""From a trace to flows and their moves: which way everything went.

Shapes: `R` records of a trace, `Q` flows, `M` moves, `S` sites, `D` planes. A node is a site of a plane,
`z * S + site`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.flows import ARRIVED
from .counts import mix
from .trace import Trace


@dataclass(frozen=True)
class Routes:
    """The flows of some samples, one row each, and their moves, one row each.

    Attributes:
        sites: columns and rows of the sites.
        depth: D.
        sample: (Q,) int64.
        origin: (Q,) int64, the site where the flow, or the first of its ancestors, was launched.
        parent: (Q,) int64, the row of the flow that it split off from, -1 at launch.
        generation: (Q,) int64, splits between the launch and this flow.
        arrival: (Q,) int64, the site of the output face where it arrived, -1 where it faded.
        route: (Q,) int64, the same for two flows that passed through the same nodes, and for no others.
        steps: (Q,) int64, its moves.
        drift: (Q,) distance between its first and its last place along x and y, in sites.
        flow: (M,) int64, the row of the flow that moved.
        start: (M,) int64, the node that it left.
        end: (M,) int64, the node that it reached.
        mass: (M,) the mass that moved.
        jump: (M,) int64, cells along z.
        sideways: (M,) distance along x and y, in sites.
    """

    sites: tuple[int, int]
    depth: int
    sample: Tensor
    origin: Tensor
    parent: Tensor
    generation: Tensor
    arrival: Tensor
    route: Tensor
    steps: Tensor
    drift: Tensor
    flow: Tensor
    start: Tensor
    end: Tensor
    mass: Tensor
    jump: Tensor
    sideways: Tensor

    @classmethod
    def of(cls, trace: Trace) -> Routes:
        """The flows and moves of a trace.

        Raises:
            ValueError: a flow's parent, or the beginning of a flow, is not in the trace.
        """
        columns, rows = trace.sites
        numbers = trace.sample * (int(trace.flow_id.max()) + 1) + trace.flow_id
        order = (numbers * (int(trace.step.max()) + 1) + trace.step).argsort()
        keys, flow = numbers[order].unique(return_inverse=True)
        first = torch.ones_like(flow, dtype=torch.bool)
        first[1:] = flow[1:] != flow[:-1]
        last = torch.cat((first[1:], first.new_ones(1)))
        begin, finish = order[first], order[last]
        parent = _rows_of_parents(trace, begin, keys)
        origin, generation = _climb(parent, trace.site[begin])
        spacing = torch.tensor([trace.box.width / columns, trace.box.height / rows], dtype=torch.float64)
        place = trace.position[:, :2].double() / spacing
        plane = trace.position[:, 2].round().long()
        node = plane * (columns * rows) + trace.site
        count = torch.zeros(len(keys), dtype=torch.int64)
        here, there = order[:-1][~last[:-1]], order[1:][~first[1:]]
        return cls(
            sites=trace.sites,
            depth=trace.box.depth,
            sample=trace.sample[begin],
            origin=origin,
            parent=parent,
            generation=generation,
            arrival=torch.where(trace.event[finish] == ARRIVED, trace.site[finish], -1),
            route=count.index_add(0, flow, mix(node[order] + 1)),  # z grows along a route, so its nodes are its order
            steps=count.index_add(0, flow, (~first).long()),
            drift=(place[finish] - place[begin]).norm(dim=1),
            flow=flow[~first],
            start=node[here],
            end=node[there],
            mass=trace.mass[there].double(),
            jump=plane[there] - plane[here],
            sideways=(place[there] - place[here]).norm(dim=1),
        )

    @property
    def num_sites(self) -> int:
        """S."""
        return self.sites[0] * self.sites[1]

    def permuted(self, random: torch.Generator) -> Routes:
        """The same routes, dealt out anew among the samples: for every origin in an order of its own.

        Children go where the flow that was launched goes.
        """
        samples = int(self.sample.max()) + 1
        order = torch.rand(self.num_sites, samples, generator=random).argsort(dim=1)
        return replace(self, sample=order[self.origin, self.sample])


def _rows_of_parents(trace: Trace, begin: Tensor, keys: Tensor) -> Tensor:
    """(Q,) int64 the row of each flow's parent, -1 at launch."""
    parent_id = trace.parent_id[begin]
    wanted = trace.sample[begin] * (int(trace.flow_id.max()) + 1) + parent_id
    row = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
    missing = (parent_id >= 0) & (keys[row] != wanted)
    if missing.any():
        flow = begin[missing][0]
        raise ValueError(
            f"trace: flow {int(trace.flow_id[flow])} of sample {int(trace.sample[flow])} has the parent "
            f"{int(trace.parent_id[flow])}, which is not in the trace; give all flows of a sample"
        )
    return torch.where(parent_id >= 0, row, -1)


def _climb(parent: Tensor, site: Tensor) -> tuple[Tensor, Tensor]:
    """(Q,) int64 the site where the first ancestor was launched, and the splits since."""
    ancestor, generation = torch.arange(len(parent)), torch.zeros_like(parent)
    above = parent
    while (above >= 0).any():
        generation = generation + (above >= 0).long()
        ancestor = torch.where(above >= 0, above, ancestor)
        above = torch.where(above >= 0, parent[above.clamp_min(0)], -1)
    return site[ancestor], generation
