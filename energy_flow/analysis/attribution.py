"""What each launched flow has to do with the answer, so that the parts add up.

Gradients pass the snap to cells, the thresholds and the budget as if they were not there, so a gradient times its
energy says little about what would happen without a flow, and these products do not add up to the answer. Here flows
are taken out and the model runs again: what a flow is worth is the mean, over random orders in which flows are let in,
of the change that its coming makes (Shapley, 1953; sampled as by Castro, Gomez and Tejada, 2009,
doi:10.1016/j.cor.2008.04.004). In each order the changes add up to the whole, so their means do.

Shapes: `S` launched flows, `M` runs of a batch, `E` output width, `O` orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import EnergyConfig
from ..core import FlowProcessor
from ..core.energy_carrier import CarrierOutput
from ..core.flows import FADED, Flows
from ..core.interventions import Intervention, Moment

Score = Callable[[Tensor], Tensor]  # (M, E) outputs to (M,) numbers


class Attribution(NamedTuple):
    """What launched flows are worth; `values.sum()` is `whole - nothing`."""

    values: Tensor  # (S,)  float64, of the flow of each site
    error: Tensor  # (S,)  float64, standard error over the orders; NaN with one order
    whole: float  # the score with all flows
    nothing: float  # the score where all of them fade in the first step

    def on_face(self, config: EnergyConfig) -> Tensor:
        """(rows, columns) the values as they lie on the input face."""
        columns, rows = config.sites
        return self.values.view(rows, columns)


@dataclass(frozen=True)
class KeepAlone(Intervention):
    """Of the launched flows some alone go on after the first step; the others fade in it, and start no child.

    Attributes:
        kept: (M, S) bool, for each sample of the batch.
    """

    kept: Tensor

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        if moment.step > 1:
            return output
        shares = torch.where(self._goes_on(moment.flows).unsqueeze(1), output.spawn_shares, 0.0)
        return output._replace(spawn_shares=shares)

    def land(self, moment: Moment, moved: Flows, outcome: Tensor) -> Tensor:
        """As `Intervention.land`."""
        return outcome if moment.step > 1 else torch.where(self._goes_on(moved), outcome, FADED)

    def _goes_on(self, flows: Flows) -> Tensor:
        return self.kept.to(flows.sample.device)[flows.sample, flows.flow_id]


@torch.no_grad()
def attribute(
    processor: FlowProcessor, row: Tensor, score: Score, orders: int = 16, seed: int = 0, at_once: int = 64
) -> Attribution:
    """What each launched flow of one row is worth to a score of the output.

    Args:
        processor: the model; it is run `orders * (S - 1) + 2` times on one row each.
        row: (E in,) the input.
        score: of outputs, such as `lambda outputs: outputs @ target`.
        orders: O, random orders in which flows are let in; more make the error smaller.
        seed: of the orders.
        at_once: rows of a batch.

    Raises:
        ValueError: `row` is more than one, or `orders` is less than 1.
    """
    if row.dim() != 1 or orders < 1:
        raise ValueError(f"row has shape {tuple(row.shape)}, orders = {orders}; give one row (E in,), and 1 or more")
    sites = processor.config.num_sites
    generator = torch.Generator().manual_seed(seed)
    taken = torch.stack([torch.randperm(sites, generator=generator) for _ in range(orders)])  # (O, S)
    place = taken.argsort(1)  # when each flow comes
    kept = torch.cat([place < count for count in range(sites + 1)])  # (S + 1) O rows, those of one count together
    unique, inverse = kept.unique(dim=0, return_inverse=True)
    scores = torch.cat(
        [
            score(processor.run(row.expand(len(part), -1), intervene=[KeepAlone(part)]).output).double().cpu()
            for part in unique.split(at_once)
        ]
    )
    steps = scores[inverse].view(sites + 1, orders)
    changes = torch.zeros(orders, sites, dtype=torch.float64).scatter(1, taken, steps.diff(dim=0).T)
    error = changes.std(0) / orders**0.5 if orders > 1 else torch.full((sites,), torch.nan, dtype=torch.float64)
    return Attribution(changes.mean(0), error, float(steps[-1, 0]), float(steps[0, 0]))
