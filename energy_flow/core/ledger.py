"""The books of a run: statistics per step and sample, and the trace of every flow.

Shapes: `T` steps, `B` samples, `S` sites, `C` energy channels, `R` rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

from .flows import (
    ARRIVED,
    BORN,
    FADED,
    LAUNCHED,
    Arrivals,
    Decisions,
    Flows,
    FlowStatistics,
    FlowTrace,
    StepResult,
    rows_where,
)
from .splitting import count_per_sample

Detail = Literal["energy", "gate", "children"]
Record = bool | Detail | Collection[Detail]  # whether a trace is kept, and with which details


def details_of(record: Record) -> frozenset[Detail] | None:
    """What a trace has beside the columns of every trace; None where none is kept.

    Raises:
        ValueError: there is no such detail.
    """
    if isinstance(record, bool):
        return frozenset() if record else None
    if not isinstance(record, Iterable):
        raise ValueError(f"record = {record!r}; give True, False, or some of {', '.join(get_args(Detail))}")
    wanted: frozenset[Detail] = frozenset((record,) if isinstance(record, str) else record)
    unknown = wanted - set(get_args(Detail))
    if unknown:
        raise ValueError(f"record has {sorted(unknown)}; give True, or some of {', '.join(get_args(Detail))}")
    return wanted


class RunLedger:
    """Watches the steps of one run and adds up what happened when it has ended; keeps no hidden state.

    A step is only noted down: every sum is made once, over the rows of all steps.

    Args:
        launched: the flows at the input face.
        details: as `details_of` gives.
        children: K, the most that a flow may start in a step.
    """

    def __init__(self, launched: Flows, details: frozenset[Detail] | None, children: int) -> None:
        self._batch = launched.batch
        self._sample: list[Tensor] = []
        self._level: list[Tensor] = []
        self._coasted: list[Tensor] = []
        self._outcome: list[Tensor] = []
        self._refused: list[Tensor] = []
        self._next_id = [launched.next_id]
        self._arrivals: list[Arrivals] = []
        self._faded: list[Tensor] = []
        self._faded_sample: list[Tensor] = []
        self._records: list[FlowTrace] | None = None if details is None else []
        self._details, self._children = details or frozenset(), children
        self._record(0, launched, torch.full_like(launched.sample, LAUNCHED))

    def observe(self, result: StepResult) -> None:
        """Note down one step."""
        moved = result.moved
        self._sample.append(moved.sample)
        self._level.append(result.level)
        self._coasted.append(torch.zeros_like(result.outcome) if result.coasted is None else result.coasted.long())
        self._outcome.append(result.outcome)
        self._refused.append(result.refused)
        self._next_id.append(moved.next_id)
        if result.counts.arrived:
            self._arrivals.append(result.arrivals)
        if result.counts.faded:
            lost = rows_where(result.outcome == FADED, result.counts.faded)
            rows = torch.cat((moved.mass.unsqueeze(1), moved.energy.detach().to(moved.mass.dtype)), dim=1)
            self._faded.append(rows.index_select(0, lost))
            self._faded_sample.append(moved.sample.index_select(0, lost))
        self._record(len(self._outcome), moved, result.outcome, result.decided)
        if self._records is not None:
            self._record(len(self._outcome), result.children, torch.full_like(result.children.sample, BORN))

    def arrivals(self, result: StepResult) -> Arrivals:
        """All that reached the output face in the run, with their gradients; `result` is that of any step."""
        parts = self._arrivals or [result.arrivals]
        if len(parts) == 1:
            return parts[0]
        columns = zip(*parts, strict=True)
        return Arrivals._make(None if column[0] is None else torch.cat(column) for column in columns)

    def statistics(self, site_mass: Tensor, channels: int) -> FlowStatistics:
        """Close the books.

        Args:
            site_mass: (B, S) mass that each site of the output face received.
            channels: C.
        """
        batch, steps, dtype = self._batch, len(self._outcome), site_mass.dtype
        outcome, level = torch.cat(self._outcome), torch.cat(self._level)
        place = torch.cat([sample + step * batch for step, sample in enumerate(self._sample)])
        ends = outcome == ARRIVED, outcome == FADED
        marks = torch.stack((torch.ones_like(level), torch.cat(self._coasted), level, *ends), dim=1).to(dtype)
        sums = _sum_rows(marks, place, steps * batch).view(steps, batch, 5)
        live, coasted, level, arrived, faded = sums.unbind(2)
        lost = site_mass.new_zeros(batch, channels + 1)
        if self._faded:
            lost = _sum_rows(torch.cat(self._faded), torch.cat(self._faded_sample), batch)
        when = torch.arange(1, steps + 1, device=outcome.device, dtype=dtype).unsqueeze(1)
        return FlowStatistics(
            live=live.long(),
            coasted=coasted.long(),
            mean_level=level / live.clamp_min(1),
            arrived=arrived.long(),
            faded=faded.long(),
            spawned=torch.stack(self._next_id).diff(dim=0),
            refused=torch.stack(self._refused),
            launched=count_per_sample(self._sample[0], batch),
            arrived_mass=site_mass.sum(1),
            faded_mass=lost[:, 0],
            faded_energy=lost[:, 1:],
            path_length=(arrived * when).sum(0) / arrived.sum(0).clamp_min(1),
            coverage=(site_mass > 0).to(dtype).mean(1),
        )

    def trace(self) -> FlowTrace | None:
        """Every record in order of time, where recording was asked for."""
        if self._records is None:
            return None
        columns = zip(*self._records, strict=True)
        return FlowTrace._make(None if column[0] is None else torch.cat(column) for column in columns)

    def _record(self, step: int, flows: Flows, event: Tensor, decided: Decisions | None = None) -> None:
        if self._records is not None:
            when = torch.full_like(flows.sample, step)
            position, energy = flows.position.detach(), flows.energy.detach() if "energy" in self._details else None
            about = when, flows.sample, flows.flow_id, flows.parent_id, position, flows.level, flows.mass, event
            self._records.append(FlowTrace(*about, energy, *(decided or self._nothing_decided(flows))))

    def _nothing_decided(self, flows: Flows) -> Decisions:
        """Of flows that have just begun."""
        gate = torch.full_like(flows.energy, torch.nan).detach() if "gate" in self._details else None
        shares = flows.energy.new_zeros(flows.size, self._children) if "children" in self._details else None
        return Decisions(gate, shares, shares)


def _sum_rows(rows: Tensor, place: Tensor, places: int) -> Tensor:
    """(R, width) rows added up by their place: (places, width)."""
    return rows.new_zeros(places, rows.shape[1]).index_add(0, place, rows)
