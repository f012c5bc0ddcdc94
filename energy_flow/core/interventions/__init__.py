"""The hand that is put into the lattice: what a run is told to do otherwise than its model would.

`processor.run(rows, intervene=[...])` takes any number of these, and each acts on what the one before has left. They
act twice in a step: when the carriers have decided (energies, wishes, shares), and when flows have come to their cells.
Gradients flow through what an intervention leaves alone, and through the energies that it swaps or adds noise to; a
place that it gives is a constant.
"""

from .barriers import Barrier, BlockCells, BlockEdges, BlockPlanes, edges_of
from .energies import AddNoise, SwapEnergies
from .intervention import Intervention, Moment
from .routes import Freeze, GoStraight, Kill, Redirect, Replay

__all__ = [
    "AddNoise",
    "Barrier",
    "BlockCells",
    "BlockEdges",
    "BlockPlanes",
    "Freeze",
    "GoStraight",
    "Intervention",
    "Kill",
    "Moment",
    "Redirect",
    "Replay",
    "SwapEnergies",
    "edges_of",
]
