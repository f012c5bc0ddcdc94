"""Slots for the states of a run without gradients: allocated once, reused in place at every step.

With gradients every step's states are needed again, and the state is functional instead.

Shapes: `F` rows of a step, `R` slots, `L` layers, `N` hidden size, `K` children.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .regroup import Regrouping


class FlowPool:
    """Hidden states of at most R flows, zeros at first, a second set of them, and room for the two products of a layer.

    Args:
        layers: L.
        slots: R.
        hidden_size: N.
        like: a tensor of the dtype and on the device.
    """

    def __init__(self, layers: int, slots: int, hidden_size: int, like: Tensor) -> None:
        self._states, self._spare = (like.new_zeros(layers, slots, hidden_size) for _ in range(2))
        self._products = like.new_empty(2, slots, 3 * hidden_size)

    def states(self, rows: int) -> Tensor:
        """(L, F, N) the states of the first slots, to be advanced in place."""
        return self._states[:, :rows]

    def products(self, rows: int) -> tuple[Tensor, Tensor]:
        """(F, 3 N) twice: where the products of input and state go."""
        return self._products[0, :rows], self._products[1, :rows]

    def hand_on(self, group: Regrouping, offset: Tensor) -> Tensor:
        """As `EnergyCarrier.hand_on`: gather into the spare slots, which then are the states; `offset` is (L, K, N)."""
        rows, survivors = torch.cat((group.stay, group.parent)), len(group.stay)
        after = self._spare[:, : len(rows)]
        for layer, states in enumerate(self._states):
            torch.index_select(states, 0, rows, out=after[layer])
            after[layer, survivors:] += offset[layer].index_select(0, group.child).to(after.dtype)
        self._states, self._spare = self._spare, self._states
        return after
