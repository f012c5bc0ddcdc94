"""Traces made by hand, whose measures are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from energy_flow.analysis import Trace
from energy_flow.config import Box
from energy_flow.core.flows import ARRIVED, BORN, FADED, LAUNCHED, MOVING

Cell = tuple[float, float, int]


def hand_made(box: Box, flows: Sequence[tuple[int, int, int, Sequence[Cell]]], born: dict[int, int] | None = None):
    """A trace with a site for each cell of a face; a route that ends before the output face fades.

    Args:
        box: the lattice.
        flows: sample, flow id, parent id (-1 at launch) and the cells of every flow.
        born: the step in which a flow of this row begins; at launch by default.
    """
    rows = []
    for number, (sample, flow_id, parent, cells) in enumerate(flows):
        begin = (born or {}).get(number, 0)
        for step, cell in enumerate(cells):
            event = LAUNCHED if parent < 0 else BORN
            if step:
                event = MOVING if step < len(cells) - 1 else ARRIVED if cell[2] == box.depth - 1 else FADED
            rows.append((begin + step, sample, flow_id, parent, *cell, event))
    rows.sort(key=lambda row: row[0])
    table = torch.tensor(rows, dtype=torch.float64)
    position = table[:, 4:7].float()
    cell = (position[:, :2] + 0.5).floor().long()
    ones = torch.ones(len(rows))
    step, sample, flow_id, parent_id = table[:, :4].long().t()
    return Trace(
        box=box,
        sites=(box.width, box.height),
        step=step,
        sample=sample,
        flow_id=flow_id,
        parent_id=parent_id,
        position=position,
        site=cell[:, 1] * box.width + cell[:, 0],
        level=ones,
        mass=ones,
        event=table[:, 7].long(),
    )


def straight(box: Box, x: int, y: int) -> list[Cell]:
    """A cell of every plane, straight ahead."""
    return [(x, y, z) for z in range(box.depth)]
