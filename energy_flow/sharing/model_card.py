"""What people read of a model before they take it: the README of its folder, with the front matter of the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import EnergyConfig

LIBRARY = "energy-flow"


@dataclass(frozen=True)
class Score:
    """How good a model is on some rows.

    Attributes:
        metric: what is measured, such as `whole mazes`.
        where: on which rows, such as `13 x 13`.
        value: the figure; where `seeds` are several, the mean over them.
        low: where its 95 % interval begins.
        high: where it ends.
        rows: that were judged.
        seeds: trainings that were judged.
    """

    metric: str
    where: str
    value: float
    low: float
    high: float
    rows: int
    seeds: int = 1


@dataclass(frozen=True)
class ModelCard:
    """What a card says beside the configuration; what is not known is left out.

    Attributes:
        name: of the model.
        what: what it does, a sentence without a full stop.
        data: what it was trained on.
        command: with which it was made.
        seed: of the weights that are there.
        scores: of this model, or over several seeds.
        machine: on which the scores were measured, names to values.
        licence: of the weights, as the hub calls it, such as `apache-2.0`.
    """

    name: str = ""
    what: str = ""
    data: str = ""
    command: str = ""
    seed: int | None = None
    scores: Sequence[Score] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""

    def text(self, config: EnergyConfig, repo_id: str | None = None) -> str:
        """The README.

        Args:
            config: of the model.
            repo_id: where it will be on the hub.
        """
        parts = (self._opening(), self._made(config), self._scores(), _use(config, repo_id or "path/to/this/folder"))
        return f"---\n{self._front_matter()}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"

    def _front_matter(self) -> str:
        """YAML; every value is written as JSON, which YAML reads."""
        fields: dict[str, Any] = {"library_name": LIBRARY, "tags": [LIBRARY, "embeddings"]}
        if self.licence:
            fields["license"] = self.licence
        if self.scores:
            fields["model-index"] = [{"name": self._title, "results": [self._result(score) for score in self.scores]}]
        return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())

    def _result(self, score: Score) -> dict[str, Any]:
        kind = self.data or "data"
        metric = {"type": score.metric, "value": score.value, "name": f"{score.metric}, {score.where}"}
        dataset = {"type": kind, "name": f"{kind}, {score.where}"}
        return {"task": {"type": "feature-extraction"}, "dataset": dataset, "metrics": [metric]}

    @property
    def _title(self) -> str:
        return self.name or "An Energy Flow model"

    def _opening(self) -> str:
        what = f"\n\nIt {self.what}." if self.what else ""
        return f"# {self._title}{what}"

    def _made(self, config: EnergyConfig) -> str:
        lines = [
            "Embeddings go through a lattice as flows of energy: "
            f"{config.input_embedding_dim} numbers in, {config.output_embedding_dim} out, in a box of {config.box}."
        ]
        if self.data:
            lines.append(f"- Data: {self.data}")
        if self.command:
            lines.append(f"- Made by: `{self.command}`")
        if self.seed is not None:
            lines.append(f"- Seed of these weights: {self.seed}")
        if self.machine:
            lines.append("- Machine: " + ", ".join(f"{name} {value}" for name, value in self.machine.items()))
        return "\n".join([lines[0], *([""] if len(lines) > 1 else []), *lines[1:]])

    def _scores(self) -> str:
        if not self.scores:
            return ""
        lines = ["| rows | metric | score | 95 % interval | judged |", "|---|---|---|---|---|"]
        for one in self.scores:
            judged = f"{one.rows} rows" + (f", mean of {one.seeds} seeds" if one.seeds > 1 else "")
            lines.append(
                f"| {one.where} | {one.metric} | {one.value:.4g} | {one.low:.4g} to {one.high:.4g} | {judged} |"
            )
        by = "rows and seeds" if any(one.seeds > 1 for one in self.scores) else "rows"
        return "## Scores\n\n" + "\n".join(lines) + f"\n\nIntervals are a bootstrap over {by}."


def _use(config: EnergyConfig, place: str) -> str:
    return (
        "## Use\n\n```python\nimport torch\nfrom energy_flow import FlowProcessor\n\n"
        f'model = FlowProcessor.from_pretrained("{place}")\n'
        f"outputs = model(torch.randn(4, {config.input_embedding_dim}))\n```"
    )
