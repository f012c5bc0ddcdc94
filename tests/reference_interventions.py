"""The slow twin under interventions: one flow at a time, from their plain fields, and no code of the package."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .reference import Flow, Reference, SampleResult

WORD = 1 << 64


class Intervened(Reference):
    """A sample of a batch in which something is done otherwise.

    Args:
        config: of the model.
        weights: of the model.
        interventions: what is done, in its order.
        sample: row of the batch.
        energies: by sample, step and flow id: what flows had after the step, where energies are swapped.
    """

    def __init__(
        self,
        config: Any,
        weights: dict[str, Tensor],
        interventions: list[Any],
        sample: int,
        energies: dict[tuple[int, int, int], Tensor] | None = None,
    ) -> None:
        super().__init__(config, weights)
        self.interventions, self.sample, self.energies, self.now = interventions, sample, energies or {}, 0

    def step(self, flows: list[Flow], next_id: int, step: int, result: SampleResult) -> tuple[list[Flow], list[Flow]]:
        self.now = step
        return super().step(flows, next_id, step, result)

    def acts(self, one: Any, flow: Flow) -> bool:
        chosen = ((one.steps, self.now), (one.samples, self.sample), (one.flows, flow.flow_id))
        return all(wanted is None or own in wanted for wanted, own in chosen)

    def update(self, flow: Flow, field_of_site: dict[int, Tensor], whole: Tensor) -> Any:
        energy, stride, hidden, shares, aim = super().update(flow, field_of_site, whole)
        aim = None if any(one.moves for one in self.interventions) else aim
        for one in self.interventions:
            if type(one).__name__ == "SwapEnergies":
                self.energies[self.sample, self.now, flow.flow_id] = energy
            if self.acts(one, flow):
                energy, stride, shares = self.otherwise(one, flow, energy, stride, shares)
        self.energies.setdefault((self.sample, self.now, flow.flow_id), energy)
        return energy, stride, hidden, shares, aim

    def otherwise(
        self, one: Any, flow: Flow, energy: Tensor, stride: list[Tensor], shares: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        zero = torch.zeros((), dtype=torch.float64)
        straight = [zero, zero, zero + math.ceil((self.config.lattice_depth - 1) / self.config.initial_steps)]
        name = type(one).__name__
        if name == "Freeze":
            return flow.energy, straight, []
        if name == "GoStraight":
            return energy, straight, shares
        if name.startswith("Block") and one.otherwise == "straight":
            return energy, straight if self.barred(one, flow, self.move(flow.position, stride)) else stride, shares
        if name == "Redirect":
            place = one.places[list(one.flows).index(flow.flow_id)]
            across = [to - own.detach() for to, own in zip(place, flow.position[:2], strict=True)]
            return energy, [*across, stride[2]], shares
        if name == "Replay":
            follows = self.sample if one.follows is None else one.follows[self.sample]
            trace = one.trace
            same = (trace.step == self.now) & (trace.sample == follows) & (trace.flow_id == flow.flow_id)
            rows = (same & (trace.event < 3)).nonzero().flatten().tolist()
            if rows:
                stride = [to - own.detach() for to, own in zip(trace.position[rows[0]], flow.position, strict=True)]
            return energy, stride, shares
        if name == "AddNoise":
            noise = [normal(one.seed, self.now, self.sample, flow.flow_id, c) for c in range(len(energy))]
            return energy + one.std * torch.tensor(noise, dtype=torch.float64), stride, shares
        if name == "SwapEnergies":
            energy = self.energies.get((one.sources[self.sample], self.now, flow.flow_id), energy)
        return energy, stride, shares

    def fades(self, before: Flow, moved: Flow) -> bool:
        for one in self.interventions:
            if self.acts(one, before):
                if type(one).__name__ == "Kill":
                    return True
                if type(one).__name__.startswith("Block") and self.barred(one, before, moved.position):
                    return True
        return super().fades(before, moved)

    def barred(self, one: Any, before: Flow, position: list[Tensor]) -> bool:
        here, there = ([math.floor(float(c.detach()) + 0.5) for c in place] for place in (before.position, position))
        if type(one).__name__ == "BlockPlanes":
            return any(here[2] < plane <= there[2] for plane in one.planes)
        if type(one).__name__ == "BlockCells":
            return there in [list(cell) for cell in one.cells]
        sites = []
        for cell in (here, there):
            middle = Flow(before.energy, 1.0, [torch.tensor(float(c)) for c in cell], [], 0, 0)
            column, row = self.patch(middle)
            sites.append(row * self.columns + column)
        return [sites[0], here[2], sites[1], there[2]] in [list(edge) for edge in one.edges]


def normal(seed: int, *counters: int) -> float:
    """A normal number from counters: splitmix64, and the method of Box and Muller."""
    golden, state = 0x9E3779B97F4A7C15, seed
    for counter in counters:
        state = mixed((state + counter * golden) % WORD)
    first, second = (mixed((state + turn * golden) % WORD) >> 11 for turn in (1, 2))
    return math.sqrt(-2 * math.log((first + 1) / 2**53)) * math.cos(2 * math.pi * second / 2**53)


def mixed(state: int) -> int:
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        state = (state ^ (state >> shift)) * multiplier % WORD
    return state
