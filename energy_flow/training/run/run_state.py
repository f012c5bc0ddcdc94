"""Where a run is: the numbers that a checkpoint holds beside the tensors."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...config import EnergyConfig
from ..flow_budget import FlowBudget
from ..metrics import LESS_IS_BETTER, EmbeddingMetrics
from ..model_folder import CONFIG

STATE = "state.json"


@dataclass(frozen=True)
class EpochReport:
    """A look at the validation set, after an epoch or within one; without a validation set, the end of an epoch."""

    epoch: int  # from 1
    train_loss: float  # mean over the rows of this epoch so far
    validation_loss: float | None
    validation: EmbeddingMetrics | None
    step: int = 0  # steps taken by then
    own: dict[str, float] = field(default_factory=dict)  # a task's figure, and those that the user gave

    def figures(self) -> dict[str, float]:
        """All of them, by the names that `best_by` knows."""
        measured = {} if self.validation is None else self.validation.to_dict()
        loss = {} if self.validation_loss is None else {"loss": self.validation_loss, "train_loss": self.train_loss}
        return loss | measured | self.own

    def cost(self, name: str) -> float | None:
        """A figure, turned so that less is better; None where there is none, or it is not a number."""
        value = self.figures().get(name, math.nan)
        return None if math.isnan(value) else value if name in LESS_IS_BETTER else -value


@dataclass
class RunState:
    """Where a run is. The order of the rows is a function of seed and epoch, so the place in it is all there is."""

    total_steps: int
    data: str  # fingerprint of the training set
    epochs: int = 0  # that are planned
    step: int = 0  # steps taken
    epoch: int = 1
    batch: int = 0  # batches of this epoch that were taken
    epoch_loss: float = 0.0  # summed over the rows of this epoch
    epoch_rows: int = 0  # those that were trained on
    micro_batches: int = 1  # of a step; more than configured once memory ran out
    ranks: int = 1  # processes that train together
    skipped: int = 0  # batches that were left out because a number was not finite
    averaged_steps: int = 0  # that went into the average of the weights
    ended: str = ""  # why a callback ended the run
    budget: FlowBudget | None = None  # where it adapts
    reports: list[EpochReport] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)  # `best` and `last`: the step of the weights on the disk
    frozen: list[str] | None = None  # parameters that do not train; version 0.1 did not note them
    parts: dict[str, str] = field(default_factory=dict)  # loss, optimizer and schedule, by the names of their code
    optimizer_numbers: dict[str, Any] = field(default_factory=dict)  # what an optimizer keeps beside tensors
    group_numbers: list[dict[str, Any]] = field(default_factory=list)  # what one of the user's counts in its groups

    @property
    def looked_at(self) -> int:
        """The step of the last look at the validation set."""
        return self.reports[-1].step if self.reports else 0

    def best(self, by: str) -> EpochReport | None:
        """The report of the best figure, the earliest of equals; None where nothing was measured."""
        measured = [(cost, report) for report in self.reports if (cost := report.cost(by)) is not None]
        return min(measured, key=lambda one: one[0], default=(0.0, None))[1]

    def reason_to_end(self, by: str, patience: int | None) -> str:
        """Why the run is finished before its last epoch; empty where it is not.

        Args:
            by: the figure of the validation set that counts.
            patience: looks without a better one that are waited for; None waits for ever.
        """
        looks = self.looks_without_better(by)
        if not self.ended and patience is not None and looks >= patience:
            return f"no better {by} in {looks} looks at the validation set"
        return self.ended

    def looks_without_better(self, by: str) -> int:
        """Looks at the validation set since the best one."""
        best = self.best(by)
        return 0 if best is None else len(self.reports) - 1 - self.reports.index(best)

    def report_at(self, step: int | None) -> EpochReport | None:
        """The last look at this step."""
        return next((report for report in reversed(self.reports) if report.step == step), None)

    def to_json(self) -> str:
        """The state as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_state(folder: Path) -> RunState:
    """The state in a whole checkpoint, of this version or an earlier one."""
    values = json.loads((folder / STATE).read_text(encoding="utf-8"))
    known = {one.name for one in fields(RunState)}
    state = RunState(**{name: value for name, value in values.items() if name in known})
    state.reports = [_report(one) for one in values["reports"]]
    state.budget = FlowBudget(**values["budget"]) if values.get("budget") else None
    if not state.epochs:
        _fill_in_epochs(state)
        best = state.best(EnergyConfig.load(folder / CONFIG).best_by)
        state.kept = {"last": state.looked_at} | ({} if best is None else {"best": best.step})
    return state


def _fill_in_epochs(state: RunState) -> None:
    """What a checkpoint of version 0.1 does not say: epochs planned, and the steps of its looks, one an epoch."""
    finished = len(state.reports)
    per_epoch = (state.step - state.batch) // finished if finished else state.total_steps
    state.epochs = max(1, round(state.total_steps / max(1, per_epoch)))
    state.reports = [
        EpochReport(one.epoch, one.train_loss, one.validation_loss, one.validation, one.epoch * per_epoch)
        for one in state.reports
    ]


def _report(values: dict[str, Any]) -> EpochReport:
    metrics = values.pop("validation")
    return EpochReport(**values, validation=None if metrics is None else EmbeddingMetrics(**metrics))
