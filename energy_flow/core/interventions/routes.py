"""What becomes of chosen flows: they fade, stand as they are, or go other ways.

Shapes: `B` samples, `F` rows, `K` what is listed, `T` steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..energy_carrier import CarrierOutput
from ..energy_lattice import EnergyLattice
from ..flows import ARRIVED, FADED, MOVING, Flows, FlowTrace
from .intervention import Intervention, Moment, ahead, extent_of


@dataclass(frozen=True)
class Kill(Intervention):
    """Flows fade, with all that they carry; a child that splits off in the same step goes on."""

    def land(self, moment: Moment, moved: Flows, outcome: Tensor) -> Tensor:
        """As `Intervention.land`."""
        return torch.where(self.who(moment), FADED, outcome)


@dataclass(frozen=True)
class Freeze(Intervention):
    """Flows keep their energy, go straight ahead by the stride of an untrained path, and give no share to a child."""

    moves: ClassVar[bool] = True

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        who = self.who(moment).unsqueeze(1)
        return output._replace(
            energy_value=torch.where(who, moment.flows.energy, output.energy_value),
            next_position=torch.where(who, ahead(moment), output.next_position),
            spawn_shares=torch.where(who, 0.0, output.spawn_shares),
        )


@dataclass(frozen=True)
class GoStraight(Intervention):
    """Flows go straight ahead by the stride of an untrained path; their energies stay the model's."""

    moves: ClassVar[bool] = True

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        who = self.who(moment).unsqueeze(1)
        return output._replace(next_position=torch.where(who, ahead(moment), output.next_position))


@dataclass(frozen=True)
class Redirect(Intervention):
    """The flows that are listed go to given places of the face, along z as they wish.

    Attributes:
        places: (K, 2) x, y in cells, one for each of `flows`.
    """

    places: Sequence[Sequence[float]] | Tensor

    moves: ClassVar[bool] = True

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        places = torch.as_tensor(self.places, device="cpu").double()
        if self.flows is None or places.shape != (len(self.flows), 2):
            raise ValueError(f"places has shape {tuple(places.shape)}; give (x, y) for each of flows = {self.flows}")
        if len({*self.flows}) < len(self.flows):
            twice = next(flow for flow in self.flows if self.flows.count(flow) > 1)
            raise ValueError(f"flows has {twice} more than once; give every flow one place")
        last = torch.tensor(extent_of(lattice)[:2], dtype=torch.float64) - 1
        if not bool(((places >= 0) & (places <= last)).all()):
            raise ValueError(
                f"places = {places.tolist()}; give x and y within a face of {extent_of(lattice)[:2]} cells"
            )

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        assert self.flows is not None  # checked
        if not self.flows:
            return output
        position = output.next_position
        wanted = torch.as_tensor(list(self.flows), dtype=torch.int64, device=position.device)
        same = moment.flows.flow_id.unsqueeze(1) == wanted  # (F, K)
        places = torch.as_tensor(self.places, dtype=position.dtype, device=position.device)
        across = places.index_select(0, same.long().argmax(1))
        there = torch.cat((across, position[:, 2:]), dim=1)
        return output._replace(next_position=torch.where(self.who(moment).unsqueeze(1), there, position))


@dataclass(frozen=True)
class Replay(Intervention):
    """Flows take the places that the flows with their ids had in a trace; who is not in it goes as it wishes.

    Energies, splits and fading stay those of the run: it is another's routes under its own energies.

    Attributes:
        trace: of a run in the same box; a `FlowTrace`, or an `energy_flow.analysis.Trace`.
        follows: for each sample of the batch, the sample of the trace whose routes it takes, by the number that the
            trace gives it; None is the same.
    """

    trace: FlowTrace | Any
    follows: Sequence[int] | None = None

    moves: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep_whole_numbers("follows")
        known = self.trace.sample.unique()  # a few rows of a large set keep their numbers: no table of all before them
        object.__setattr__(self, "_known", {number: place for place, number in enumerate(known.tolist())})
        object.__setattr__(self, "_places", _places_of(self.trace, known))

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        places: Tensor = self._places  # type: ignore[attr-defined]
        follows = list(range(batch)) if self.follows is None else list(self.follows)
        if len(follows) != batch:
            raise ValueError(f"follows has {len(follows)} entries for {batch} rows; give one sample of the trace each")
        known: dict[int, int] = self._known  # type: ignore[attr-defined]
        for number in follows:
            if number not in known:
                raise ValueError(f"follows has {number}; give samples of the trace: {_few([*known])}")
        reached = places.nan_to_num(0.0).flatten(0, 2).amax(0).tolist() if places.numel() else [0.0] * 3
        if any(cell > size - 1 for cell, size in zip(reached, extent_of(lattice), strict=True)):
            raise ValueError(f"trace reaches cell {reached}; it is of another box than {lattice.config.box}")

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        places: Tensor = self._places  # type: ignore[attr-defined]
        flows, position = moment.flows, output.next_position
        steps, _, ids = places.shape[:3]
        if moment.step >= steps:
            return output
        table = places[moment.step].to(position.device, position.dtype)
        follows = range(flows.batch) if self.follows is None else self.follows
        known: dict[int, int] = self._known  # type: ignore[attr-defined]
        rows = torch.as_tensor([known[number] for number in follows], device=position.device)
        sample = rows.index_select(0, flows.sample)
        there = table.flatten(0, 1).index_select(0, sample * ids + flows.flow_id.clamp_max(ids - 1))
        routed = there.isfinite().all(1) & (flows.flow_id < ids) & self.who(moment)
        return output._replace(next_position=torch.where(routed.unsqueeze(1), there, position))


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def _places_of(trace: Any, known: Tensor) -> Tensor:
    """(T + 1, N, ids, 3) where the flows of the N known samples came to in each step; NaN where they were not."""
    came = (trace.event == MOVING) | (trace.event == ARRIVED) | (trace.event == FADED)
    step, flow, sample = trace.step[came], trace.flow_id[came], torch.searchsorted(known, trace.sample[came])
    steps, ids = (int(part.max()) + 1 if len(part) else 1 for part in (trace.step, trace.flow_id))
    places = torch.full(
        (steps, len(known), ids, 3), torch.nan, dtype=trace.position.dtype, device=trace.position.device
    )
    places[step, sample, flow] = trace.position[came].detach()
    return places
