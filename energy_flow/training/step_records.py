"""The figures of the steps since the last report: they stay on the device until they are asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from ..utils.device_manager import DeviceManager
from .run.observers import Figures
from .run.run_state import RunState
from .training_step import StepFigures


class StepRecords:
    """Collects the figures of steps, and makes a record of each when a report is due.

    Args:
        devices: where the figures are, and whose memory is reported.
    """

    def __init__(self, devices: DeviceManager) -> None:
        self.devices = devices
        self._pending: list[StepFigures] = []
        self._since = time.perf_counter()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, figures: StepFigures) -> None:
        """A step has been taken."""
        self._pending.append(figures)

    def restart_clock(self) -> None:
        """Count the time of the next steps from now, as after a look at the validation set."""
        self._since = time.perf_counter()

    def bring(self, state: RunState) -> list[Figures]:
        """The records of the steps up to `state.step`, in one transfer; the sums of the state take them in."""
        if not self._pending:
            return []
        figures = bring_to_host(self._pending)
        for step in figures:
            state.epoch_loss += step["loss"] * step["rows"]
            state.epoch_rows += int(step["rows"])
            if state.budget is not None:
                step["most_flows"] = state.budget.flows
                state.budget.observe(step)
        seconds = time.perf_counter() - self._since
        shared = {
            "epoch": state.epoch,
            "flow_steps_per_second": sum(step["flow_steps"] for step in figures) / seconds,
            "step_seconds": seconds / len(figures),
            "memory_bytes": self.devices.watch_memory().used,
        }
        busy = self.devices.utilization()
        if busy is not None:
            shared["gpu_utilization"] = busy
        self._pending, self._since = [], time.perf_counter()
        first = state.step - len(figures) + 1
        return [{"step": first + index} | shared | step for index, step in enumerate(figures)]


def bring_to_host(steps: Sequence[StepFigures]) -> list[dict[str, float]]:
    """Figures of some steps as numbers: those on the device come over in one transfer, the host's stay as they are."""
    there: list[Tensor] = [value for step in steps for value in step.values() if isinstance(value, Tensor)]
    brought = iter(torch.stack([value.float() for value in there]).tolist() if there else ())
    return [
        {name: next(brought) if isinstance(value, Tensor) else value for name, value in step.items()} for step in steps
    ]
