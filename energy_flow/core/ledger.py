"""The books of a run: statistics per step and sample, and the trace of every flow."""

from __future__ import annotations

import torch
from torch import Tensor

from .flows import ARRIVED, BORN, FADED, LAUNCHED, Arrivals, Flows, FlowStatistics, FlowTrace, StepResult
from .splitting import count_per_sample


class RunLedger:
    """Watches the steps of one run and adds up what happened; keeps no gradient and no hidden state."""

    def __init__(self, launched: Flows, record: bool) -> None:
        self._batch = launched.batch
        self._launched = count_per_sample(launched.sample, launched.batch)
        self._steps: list[dict[str, Tensor]] = []
        self._faded_mass = launched.mass.new_zeros(launched.batch)
        self._faded_energy = launched.energy.new_zeros(launched.batch, launched.energy.shape[1])
        self._records: list[FlowTrace] | None = [] if record else None
        self._record(0, launched, torch.full_like(launched.sample, LAUNCHED))

    def observe(self, result: StepResult) -> None:
        """Book one step."""
        moved, outcome = result.moved, result.outcome
        faded = outcome == FADED
        live = count_per_sample(moved.sample, self._batch)
        level = moved.mass.new_zeros(self._batch).index_add(0, moved.sample, moved.level)
        self._steps.append(
            {
                "live": live,
                "mean_level": level / live.clamp_min(1),
                "arrived": count_per_sample(moved.sample, self._batch, (outcome == ARRIVED).long()),
                "faded": count_per_sample(moved.sample, self._batch, faded.long()),
                "spawned": count_per_sample(result.children.sample, self._batch),
                "refused": result.refused,
            }
        )
        self._faded_mass = self._faded_mass.index_add(0, moved.sample, moved.mass * faded)
        lost = moved.energy.detach() * faded.unsqueeze(1)
        self._faded_energy = self._faded_energy.index_add(0, moved.sample, lost)
        self._record(len(self._steps), moved, outcome)
        self._record(len(self._steps), result.children, torch.full_like(result.children.sample, BORN))

    def statistics(self, arrivals: Arrivals, site_mass: Tensor) -> FlowStatistics:
        """Close the books.

        Args:
            arrivals: all that reached the output face.
            site_mass: (B, S) mass that each site of the output face received.
        """
        steps = {name: torch.stack([step[name] for step in self._steps]) for name in self._steps[0]}
        ages = count_per_sample(arrivals.sample, self._batch, arrivals.age)
        return FlowStatistics(
            **steps,
            launched=self._launched,
            arrived_mass=site_mass.sum(1),
            faded_mass=self._faded_mass,
            faded_energy=self._faded_energy,
            path_length=ages.to(site_mass.dtype) / steps["arrived"].sum(0).clamp_min(1),
            coverage=(site_mass > 0).to(site_mass.dtype).mean(1),
        )

    def trace(self) -> FlowTrace | None:
        """Every record in order of time, where recording was asked for."""
        if self._records is None:
            return None
        return FlowTrace(*(torch.cat(column) for column in zip(*self._records, strict=True)))

    def _record(self, step: int, flows: Flows, event: Tensor) -> None:
        if self._records is not None:
            when = torch.full_like(flows.sample, step)
            position = flows.position.detach()
            self._records.append(
                FlowTrace(when, flows.sample, flows.flow_id, flows.parent_id, position, flows.level, flows.mass, event)
            )
