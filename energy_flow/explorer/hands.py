"""From what people do on the page to interventions of the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..analysis.trace import Trace
from ..config import Box
from ..core.interventions import AddNoise, BlockCells, Freeze, Intervention, Kill, Replay
from .requests import AnyHand, Block, Cut, Noise, Routes, Still


def interventions_of(hands: Sequence[AnyHand], box: Box, traces: Mapping[str, Trace]) -> list[Intervention]:
    """The interventions, in their order.

    Args:
        hands: what people did.
        box: that the run is in.
        traces: of earlier runs, by their names.

    Raises:
        ValueError: a cell beyond the box, or a run that is not kept any more.
    """
    return [_one(hand, box, traces) for hand in hands]


def _one(hand: AnyHand, box: Box, traces: Mapping[str, Trace]) -> Intervention:
    chosen = {"flows": hand.flows, "steps": hand.steps}
    if isinstance(hand, Block):
        beyond = [cell for cell in hand.cells if any(place >= size for place, size in zip(cell, box, strict=True))]
        if beyond:
            raise ValueError(f"cells: {beyond[0]} lies beyond the box of {box}")
        return BlockCells(torch.tensor(hand.cells), otherwise=hand.otherwise, **chosen)
    if isinstance(hand, Cut):
        return Kill(**chosen)
    if isinstance(hand, Still):
        return Freeze(**chosen)
    if isinstance(hand, Noise):
        return AddNoise(hand.std, hand.seed, **chosen)
    assert isinstance(hand, Routes)
    if hand.run not in traces:
        raise ValueError("run: its routes are not kept any more; run it again")
    return Replay(traces[hand.run], **chosen)
