"""The slow twin under interventions: one flow at a time, from their plain fields, and no code of the package."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .reference import Flow, Reference, SampleResult, Update

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
        self.interventions, self.sample, self.now = interventions, sample, 0
        self.energies = {} if energies is None else energies

    def step(self, flows: list[Flow], next_id: int, step: int, result: SampleResult) -> tuple[list[Flow], list[Flow]]:
        self.now = step
        return super().step(flows, next_id, step, result)

    def acts(self, one: Any, flow: Flow) -> bool:
        chosen = ((one.steps, self.now), (one.samples, self.sample), (one.flows, flow.flow_id))
        return all(wanted is None or own in wanted for wanted, own in chosen)

    def update(self, flow: Flow, field_of_site: dict[int, Tensor], whole: Tensor) -> Update:
        update = super().update(flow, field_of_site, whole)
        if any(one.moves for one in self.interventions):
            update = update._replace(aim=None)
        for one in self.interventions:
            if type(one).__name__ == "SwapEnergies":
                self.energies[self.sample, self.now, flow.flow_id] = update.energy
            if self.acts(one, flow):
                update = self.otherwise(one, flow, update)
        self.energies.setdefault((self.sample, self.now, flow.flow_id), update.energy)
        return update

    def otherwise(self, one: Any, flow: Flow, update: Update) -> Update:
        zero = torch.zeros((), dtype=torch.float64)
        straight, name = [zero, zero, zero + self.jump], type(one).__name__
        if name == "Freeze":
            return update._replace(energy=flow.energy, stride=straight, shares=[])
        if name == "GoStraight":
            return update._replace(stride=straight)
        if name.startswith("Block") and one.otherwise == "straight":
            barred = self.barred(one, flow, self.move(flow.position, update.stride))
            return update._replace(stride=straight) if barred else update
        if name in ("Redirect", "Replay"):
            return update._replace(stride=self.given(one, flow, update.stride))
        return update._replace(energy=self.other_energy(one, flow, update.energy))

    def given(self, one: Any, flow: Flow, stride: list[Tensor]) -> list[Tensor]:
        """The stride to a place that is given, if there is one."""
        if type(one).__name__ == "Redirect":
            place = one.places[list(one.flows).index(flow.flow_id)]
            return [*(to - own for to, own in zip(place, flow.position[:2], strict=True)), stride[2]]
        follows = self.sample if one.follows is None else one.follows[self.sample]
        same = (one.trace.step == self.now) & (one.trace.sample == follows) & (one.trace.flow_id == flow.flow_id)
        rows = (same & (one.trace.event < 3)).nonzero().flatten().tolist()
        if not rows:
            return stride
        return [to - own for to, own in zip(one.trace.position[rows[0]].detach(), flow.position, strict=True)]

    def other_energy(self, one: Any, flow: Flow, energy: Tensor) -> Tensor:
        if type(one).__name__ == "AddNoise":
            noise = [normal(one.seed, self.now, self.sample, flow.flow_id, c) for c in range(len(energy))]
            return energy + one.std * torch.tensor(noise, dtype=torch.float64)
        if type(one).__name__ == "SwapEnergies":
            return self.energies.get((one.sources[self.sample], self.now, flow.flow_id), energy)
        return energy

    def outcome(self, before: Flow, moved: Flow) -> str:
        for one in self.interventions:
            if self.acts(one, before):
                killed = type(one).__name__ == "Kill"
                if killed or (type(one).__name__.startswith("Block") and self.barred(one, before, moved.position)):
                    return "faded"
        return super().outcome(before, moved)

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
