"""Slots for the states of a run without gradients: allocated once, reused in place at every step.

With gradients every step's states are needed again, and the state is functional instead.

Shapes: `F` rows of a step, `R` slots, `I` input size, `L` layers, `N` hidden size, `K` children.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..gru import LayerWeights
from .gru_step import open_gates
from .regroup import Regrouping


class FlowPool:
    """Hidden states of at most R flows, a second set of them, and room for the two products of a layer.

    The pool knows the states that it gave out last. Only those are advanced in place, so the flows of the step before
    have lost theirs; states from elsewhere are none of its business (`holds`).

    Args:
        layers: of the GRU.
        slots: R.
    """

    def __init__(self, layers: Sequence[LayerWeights], slots: int) -> None:
        like = layers[0].weight_hh
        self._layers = layers
        self._states, self._spare = (like.new_zeros(len(layers), slots, like.shape[1]) for _ in range(2))
        self._products = like.new_empty(2, slots, like.shape[0])
        self._given: Tensor | None = None

    def holds(self, hidden: Tensor) -> bool:
        """Whether these states (L, F, N) are the pool's own."""
        return hidden is self._given

    def step(self, inputs: Tensor, at_rest: bool) -> tuple[Tensor, Tensor]:
        """What `StackedGRUStep` computes, in place.

        Args:
            inputs: (F, I).
            at_rest: the slots still hold zeros, as at launch.

        Returns:
            (L, F, N) the states, and (F, N) those of the last layer.
        """
        rows, below = inputs.shape[0], inputs
        states = self._given = self._states[:, :rows]
        for layer, state in zip(self._layers, states, strict=True):
            size = state.shape[1]
            gates, product = self._products[:, :rows]
            torch.addmm(layer.bias_ih, below, layer.weight_ih.t(), out=gates)
            if at_rest:
                product = layer.bias_hh.expand(rows, -1)
            else:
                torch.addmm(layer.bias_hh, state, layer.weight_hh.t(), out=product)
            open_gates(gates, product[:, : 2 * size], product[:, 2 * size :])
            below = torch.lerp(gates[:, 2 * size :], state, gates[:, size : 2 * size], out=state)
        return states, below

    def regroup(self, group: Regrouping, offset: Tensor) -> Tensor:
        """As `RegroupHidden`: gather into the spare slots, which then are the states; `offset` is (L, K, N)."""
        rows, survivors = torch.cat((group.stay, group.parent)), len(group.stay)
        after = self._spare[:, : len(rows)]
        for layer, states in enumerate(self._states):
            torch.index_select(states, 0, rows, out=after[layer])
            after[layer, survivors:] += offset[layer].index_select(0, group.child).to(after.dtype)
        self._states, self._spare, self._given = self._spare, self._states, after
        return after
