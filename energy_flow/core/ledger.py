"""The books of a run: statistics per step and sample, and the trace of every flow.

Shapes: `T` steps, `B` samples, `S` sites, `C` energy channels, `R` rows of all steps together.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .flows import ARRIVED, BORN, FADED, LAUNCHED, Arrivals, Flows, FlowStatistics, FlowTrace, StepResult, arrivals_of
from .splitting import count_per_sample


class RunLedger:
    """Watches the steps of one run and adds up what happened when it has ended; keeps no hidden state.

    A step is only noted down: every sum is made once, over the rows of all steps.
    """

    def __init__(self, launched: Flows, record: bool) -> None:
        self._launched = _without_hidden(launched)
        self._moved: list[Flows] = []
        self._outcomes: list[Tensor] = []
        self._refused: list[Tensor] = []
        self._records: list[FlowTrace] | None = [] if record else None
        self._record(0, launched, torch.full_like(launched.sample, LAUNCHED))

    def observe(self, result: StepResult) -> None:
        """Note down one step."""
        self._moved.append(_without_hidden(result.moved))
        self._outcomes.append(result.outcome)
        self._refused.append(result.refused)
        self._record(len(self._moved), result.moved, result.outcome)
        self._record(len(self._moved), result.children, torch.full_like(result.children.sample, BORN))

    def arrivals(self) -> Arrivals:
        """All that reached the output face in the run, with their gradients."""
        return arrivals_of(self._all, self._outcome)

    def statistics(self, arrivals: Arrivals, site_mass: Tensor) -> FlowStatistics:
        """Close the books.

        Args:
            arrivals: all that reached the output face.
            site_mass: (B, S) mass that each site of the output face received.
        """
        batch, steps, dtype = self._launched.batch, len(self._moved), site_mass.dtype
        sample, faded = self._all.sample, self._outcome == FADED
        place = torch.cat([moved.sample + step * batch for step, moved in enumerate(self._moved)])
        marks = (torch.ones_like(faded), self._all.level, self._outcome == ARRIVED, faded)
        sums = _sum_rows(torch.stack([mark.to(dtype) for mark in marks], dim=1), place, steps * batch)
        live, level, arrived, ended = sums.view(steps, batch, 4).unbind(2)
        lost = torch.cat((self._all.mass.unsqueeze(1), self._all.energy.detach()), dim=1) * faded.unsqueeze(1)
        lost = _sum_rows(lost, sample, batch)
        next_id = torch.stack([self._launched.next_id, *(moved.next_id for moved in self._moved)])
        ages = count_per_sample(arrivals.sample, batch, arrivals.age)
        return FlowStatistics(
            live=live.long(),
            mean_level=level / live.clamp_min(1),
            arrived=arrived.long(),
            faded=ended.long(),
            spawned=next_id.diff(dim=0),
            refused=torch.stack(self._refused),
            launched=count_per_sample(self._launched.sample, batch),
            arrived_mass=site_mass.sum(1),
            faded_mass=lost[:, 0],
            faded_energy=lost[:, 1:],
            path_length=ages.to(dtype) / arrived.sum(0).clamp_min(1),
            coverage=(site_mass > 0).to(dtype).mean(1),
        )

    def trace(self) -> FlowTrace | None:
        """Every record in order of time, where recording was asked for."""
        if self._records is None:
            return None
        return FlowTrace(*(torch.cat(column) for column in zip(*self._records, strict=True)))

    @cached_property
    def _all(self) -> Flows:
        """The rows of all steps, without their hidden states."""
        first = self._moved[0]
        kept = [name for name in Flows._fields if name not in ("hidden", "next_id")]
        return first._replace(**{name: torch.cat([getattr(moved, name) for moved in self._moved]) for name in kept})

    @cached_property
    def _outcome(self) -> Tensor:
        return torch.cat(self._outcomes)

    def _record(self, step: int, flows: Flows, event: Tensor) -> None:
        if self._records is not None:
            when = torch.full_like(flows.sample, step)
            position = flows.position.detach()
            self._records.append(
                FlowTrace(when, flows.sample, flows.flow_id, flows.parent_id, position, flows.level, flows.mass, event)
            )


def _without_hidden(flows: Flows) -> Flows:
    return flows._replace(hidden=flows.hidden.new_empty(0))


def _sum_rows(rows: Tensor, place: Tensor, places: int) -> Tensor:
    """(R, width) rows added up by their place: (places, width)."""
    return rows.new_zeros(places, rows.shape[1]).index_add(0, place, rows)
