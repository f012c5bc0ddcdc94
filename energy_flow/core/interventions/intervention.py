"""What a run may be told to do otherwise than its model would: the base, and what a step looks like to it.

Shapes: `B` samples, `F` rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..energy_carrier import CarrierOutput
from ..energy_lattice import EnergyLattice
from ..flows import Flows


class Moment(NamedTuple):
    """A step of a run, as an intervention sees it."""

    step: int  # 1 is the first
    flows: Flows  # (F) before the step; the rows of output and outcome are in the same order
    lattice: EnergyLattice


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """What acts on some flows, in some samples and steps; subclass it for your own.

    Attributes:
        flows: ids of flows, as a list, an array or a tensor; None is all.
        samples: rows of the batch, likewise.
        steps: of the run, 1 is the first, likewise.

    Raises:
        ValueError: these are no whole numbers.
    """

    flows: Sequence[int] | None = None
    samples: Sequence[int] | None = None
    steps: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self._keep_whole_numbers("flows", "samples", "steps")

    def _keep_whole_numbers(self, *names: str) -> None:
        """Keep these fields, which may be lists, arrays or tensors, as tuples of whole numbers."""
        for name in names:
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, whole_numbers(name, given))

    moves: ClassVar[bool] = False  # whether it may send flows elsewhere than their pointer aims

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """Refuse, with a ValueError, what does not fit the box or the batch; called before the run."""
        require_within("samples", self.samples, 0, batch, "rows of the batch")
        require_within("flows", self.flows, 0, None, "ids of flows")
        require_within("steps", self.steps, 1, None, "steps, 1 is the first")

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """Change what the carriers have decided; what a child takes along follows from energy and shares.

        Args:
            moment: the step.
            output: of all F rows.
        """
        return output

    def land(self, moment: Moment, moved: Flows, outcome: Tensor) -> Tensor:
        """Change what became of everyone.

        Args:
            moment: the step.
            moved: (F) after the step, in their cells.
            outcome: (F,) int64 MOVING, ARRIVED or FADED.
        """
        return outcome

    def who(self, moment: Moment) -> Tensor:
        """(F,) bool: the rows it acts on in this step."""
        flows = moment.flows
        chosen = torch.full_like(flows.sample, self.steps is None or moment.step in self.steps, dtype=torch.bool)
        for own, wanted in ((flows.flow_id, self.flows), (flows.sample, self.samples)):
            if wanted is not None:
                chosen = chosen & torch.isin(own, torch.as_tensor(list(wanted), dtype=torch.int64, device=own.device))
        return chosen


def ahead(moment: Moment) -> Tensor:
    """(F, 3) where flows come that go straight ahead by the stride of an untrained path."""
    position = moment.flows.position
    return torch.cat((position[:, :2], position[:, 2:] + moment.lattice.stride), dim=1)


def extent_of(lattice: EnergyLattice) -> tuple[int, int, int]:
    """Cells along x, y and z."""
    config = lattice.config
    return config.lattice_width, config.lattice_height, config.lattice_depth


def whole_numbers(name: str, given: Iterable[Any]) -> tuple[int, ...]:
    """Whole numbers of any type, in a sequence of any type.

    Raises:
        ValueError: it is no sequence, or a number is not whole; the message names it.
    """
    if isinstance(given, str) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise ValueError(f"{name} = {given!r}; give a list of whole numbers")
    to_list = getattr(given, "tolist", None)  # of arrays and tensors
    numbers = list(given) if to_list is None else to_list()
    for number in numbers:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise ValueError(f"{name} has {number!r}; give whole numbers")
    return tuple(int(number) for number in numbers)


def require_within(name: str, numbers: Sequence[int] | None, least: int, end: int | None, what: str) -> None:
    """Refuse, with a ValueError that names it, a number outside of `least` to `end` - 1."""
    for number in numbers or ():
        if number < least or (end is not None and number >= end):
            room = f"{least} or more" if end is None else f"{least} to {end - 1}"
            raise ValueError(f"{name} has {number}; give {what}: {room}")
