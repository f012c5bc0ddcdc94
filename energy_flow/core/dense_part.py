"""The dense part of a step, neuron and carrier over all rows, and how it is run: nearly all the work is here.

Shapes: `F` rows, `P` perceived numbers, `C` energy channels, `L` layers, `N` hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .energy_carrier import CarrierOutput, EnergyCarrier
from .flow_pool import FlowPool
from .gru import LayerWeights
from .simple_neuron import SimpleNeuron

LEAST_COMPILED_ROWS = 8  # torch compiles anew for 0 rows and for 1; fewer than this are padded
MOST_VARIANTS = 64  # compiled forms in one process: launch or not, gradients or not, precision, configuration

Update = tuple[CarrierOutput, Tensor]


@dataclass(frozen=True)
class Execution:
    """How the dense part runs. The numbers are the same to rounding, and with `checkpointed` alone to the bit."""

    compiled: bool = False  # by torch.compile: Inductor's kernels for everything between the products
    graphed: bool = False  # compiled, and replayed as CUDA graphs: one for each number of rows, so with a row bucket
    checkpointed: bool = False  # keep a step's inputs alone, and compute the rest again in the backward pass
    row_bucket: int = 1  # rows are padded to a multiple: fewer sizes for libraries that keep something for each size


def update(
    neuron: SimpleNeuron,
    carrier: EnergyCarrier,
    features: Tensor,
    energy: Tensor,
    hidden: Tensor | None,
    weights: tuple[LayerWeights, ...],
    pool: FlowPool | None = None,
) -> Update:
    """Perceived features (F, P), energies (F, C) and hidden states (L, F, N) to the carrier's output and new states."""
    return carrier(neuron(features), energy, hidden, weights, pool)


class DensePart:
    """Runs `update` as an `Execution` says.

    Args:
        neuron: the shared neuron.
        carrier: the shared carrier.
        execution: how.
    """

    def __init__(self, neuron: SimpleNeuron, carrier: EnergyCarrier, execution: Execution) -> None:
        self.execution = execution
        self._modules = neuron, carrier

    def __call__(
        self,
        features: Tensor,
        energy: Tensor,
        hidden: Tensor | None,
        weights: tuple[LayerWeights, ...],
        pool: FlowPool | None = None,
    ) -> Update:
        """As `update`."""
        rows, how = features.shape[0], self.execution
        more = self.padded(rows) - rows
        if more:
            features, energy = F.pad(features, (0, 0, 0, more)), F.pad(energy, (0, 0, 0, more))
            hidden = hidden if hidden is None or pool is not None else F.pad(hidden, (0, 0, 0, more))
        arguments = (*self._modules, features, energy, hidden, weights)
        if pool is not None:
            output, after = update(*arguments, pool)
        elif how.compiled:
            _let_rows_vary(features, energy, hidden)
            output, after = self._keep_or_not(compiled_update(how.graphed), arguments)
        else:
            output, after = self._keep_or_not(update, arguments)
        return (CarrierOutput(*(part[:rows] for part in output)), after[:, :rows]) if more else (output, after)

    def begin(self) -> None:
        """A run begins: graphs may use the memory of the last one again."""
        if self.execution.graphed:
            torch.compiler.cudagraph_mark_step_begin()

    def pool(self, rows: int, weights: tuple[LayerWeights, ...]) -> FlowPool | None:
        """Slots for a run of at most so many rows; None where gradients or the compiler want functions instead."""
        if torch.is_grad_enabled() or self.execution.compiled:
            return None
        return FlowPool(len(weights), self.padded(rows), weights[0].weight_hh.shape[1], weights[0].weight_hh)

    def padded(self, rows: int) -> int:
        """Rows, padding included."""
        least = LEAST_COMPILED_ROWS if self.execution.compiled else 1
        return max(least, -(-rows // self.execution.row_bucket) * self.execution.row_bucket)

    def _keep_or_not(self, run: Callable[..., Update], arguments: tuple[Any, ...]) -> Update:
        if self.execution.checkpointed and torch.is_grad_enabled():
            return checkpoint(run, *arguments, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]
        return run(*arguments)


@cache
def compiled_update(graphed: bool = False) -> Callable[..., Update]:
    """The compiled form, one for all models of the process; what cannot be compiled as a whole is an error."""
    import torch._dynamo  # slow, and not everyone compiles

    torch._dynamo.config.recompile_limit = max(MOST_VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(update, fullgraph=True, mode="reduce-overhead" if graphed else None)


def _let_rows_vary(features: Tensor, energy: Tensor, hidden: Tensor | None) -> None:
    """Tell the compiler that the number of rows is a variable, so that it compiles once for all."""
    torch._dynamo.mark_dynamic(features, 0)
    torch._dynamo.mark_dynamic(energy, 0)
    if hidden is not None:
        torch._dynamo.mark_dynamic(hidden, 1)
