"""The analysis of a model on a set: every measure, the nulls beside it, and the two experiments.

Shapes: `N` samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core import FlowProcessor
from ..core.interventions import GoStraight, Intervention
from .causal import Lesion, Transplant, lesion, transplant
from .emergence import Emergence, Value
from .intervals import Effect, bootstrap, spearman_interval
from .nulls import untrained
from .reach import Reach
from .routes import Routes
from .samples import SampleBatch, Samples
from .stability import Edges
from .trace import Trace
from .verdict import verdict

SYSTEMS = ("trained", "untrained", "straight", "permuted")
REACH_SAMPLES, REACH_RECORDS = 64, 100_000  # that a change is sent through, at most


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        samples: N.
        classes: how many classes the samples have.
        labels: where the classes come from, in words.
        score_name: what the score measures, 1 at best.
        scores: mean score of every system that gives outputs, with its interval over samples.
        measures: of every system, every measure.
        planes: of every system, the effective channels of every plane.
        lesion: None where it could not be done.
        transplant: the other experiment.
        growth: specialisation in bits, beyond chance, by the training step of a checkpoint.
        edges: of every system, the flux over the edges in use.
    """

    samples: int
    classes: int
    labels: str
    score_name: str
    scores: Mapping[str, Effect]
    measures: Mapping[str, Mapping[str, Value]]
    planes: Mapping[str, list[float | None]]
    lesion: Lesion | None
    transplant: Transplant
    growth: Mapping[int, float]
    edges: Mapping[str, Edges]

    @property
    def verdict(self) -> str:
        """What the experiments say, in words."""
        return verdict(self.scores["trained"].mean, self.lesion, self.transplant)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "samples": self.samples,
            "classes": {"count": self.classes, "source": self.labels},
            "score": {"name": self.score_name} | {name: one._asdict() for name, one in self.scores.items()},
            "measures": {
                system: {name: value._asdict() for name, value in found.items()}
                for system, found in self.measures.items()
            },
            "effective_channels_by_plane": dict(self.planes),
            "lesion": None if self.lesion is None else _nested(self.lesion),
            "transplant": _nested(self.transplant),
            "specialisation_by_step": {str(step): value for step, value in self.growth.items()},
            "verdict": self.verdict,
        }


class _System:
    """A model that is watched as it runs: its flows, its scores, its work."""

    def __init__(
        self,
        processor: FlowProcessor,
        samples: Samples,
        permutations: int,
        intervene: Sequence[Intervention] = (),
    ) -> None:
        self.processor, self.samples, self.intervene = processor, samples, intervene
        config = processor.config
        self.emergence = Emergence(config.sites, config.lattice_depth, samples.labels, permutations)
        self._reach = Reach(processor, intervene)
        self._probes = max(2, min(REACH_SAMPLES, REACH_RECORDS // (config.max_active_flows * config.untrained_path)))
        self._scores: list[Tensor] = []
        self._work: list[Tensor] = []

    @torch.no_grad()
    def observe(self, batch: SampleBatch) -> Routes:
        """Run a batch, and add what happens."""
        result = self.processor.run(batch.inputs, record=True, intervene=self.intervene)
        if batch.first == 0:
            self._reach.observe(batch.inputs[: self._probes])
        routes = Routes.of(Trace.of(result, self.processor.config))
        self.emergence.observe(routes, batch.first)
        self._scores.append(self.samples.score(batch, result.output))
        self._work.append((result.stats.live - result.stats.coasted).sum(0).cpu().double())
        return routes

    @property
    def scores(self) -> Tensor:
        """(N,) float64."""
        return torch.cat(self._scores)

    def measures(self) -> dict[str, Value]:
        """Every measure of what was seen."""
        difficulty = self.samples.difficulty()
        difficulty = 1 - self.scores if difficulty is None else difficulty
        found = spearman_interval(torch.cat(self._work), difficulty)
        work = Value(None) if found is None else Value(found.mean, low=found.low, high=found.high)
        return self.emergence.measures() | {"reach": Value(self._reach.distance()), "work_difficulty": work}


def analyze(
    processor: FlowProcessor,
    samples: Samples,
    checkpoints: Mapping[int, FlowProcessor] | None = None,
    permutations: int = 20,
    seed: int = 0,
) -> Analysis:
    """Measure what the flows of a model do, and whether it matters which way they go.

    Memory follows the edges and routes that are in use, and a few numbers for each sample: traces are counted batch by
    batch and not kept.

    Args:
        processor: in the box that it is to run in. It is set to evaluate.
        samples: N, of the size of this box.
        checkpoints: the same model earlier in training, by the step.
        permutations: of classes over samples.
        seed: of all that is drawn.
    """
    processor.eval()
    trained = _System(processor, samples, permutations)
    fresh = _System(untrained(processor), samples, permutations)
    straight = _System(processor, samples, permutations, [GoStraight()])
    dealt = Emergence(processor.config.sites, processor.config.lattice_depth, samples.labels, permutations)
    random = torch.Generator().manual_seed(seed)
    for batch in samples.batches(processor):
        dealt.observe(trained.observe(batch).permuted(random), batch.first)
        fresh.observe(batch)
        straight.observe(batch)
    systems = {"trained": trained, "untrained": fresh, "straight": straight}
    watched = {name: system.emergence for name, system in systems.items()} | {"permuted": dealt}
    return Analysis(
        samples=len(samples),
        classes=samples.labels.classes,
        labels=samples.labels.source,
        score_name=samples.scores.name,
        scores={name: bootstrap(system.scores) for name, system in systems.items()},
        measures={name: system.measures() for name, system in systems.items()} | {"permuted": dealt.measures()},
        planes={name: one.channels_by_plane() for name, one in watched.items()},
        lesion=lesion(processor, samples, trained.emergence.flux, trained.scores, seed=seed),
        transplant=transplant(processor, samples, trained.scores),
        growth={step: specialisation(one, samples, permutations) for step, one in (checkpoints or {}).items()},
        edges={name: one.flux.run for name, one in watched.items()},
    )


def specialisation(processor: FlowProcessor, samples: Samples, permutations: int = 20) -> float:
    """How unlike the classes' flux maps are, in bits beyond chance: `Emergence.specialisation` of a model alone."""
    processor.eval()
    found = Emergence(processor.config.sites, processor.config.lattice_depth, samples.labels, permutations)
    for batch in samples.batches(processor):
        with torch.no_grad():
            result = processor.run(batch.inputs, record=True)
        found.observe(Routes.of(Trace.of(result, processor.config)), batch.first)
    return found.specialisation.excess


def _nested(found: Lesion | Transplant) -> dict[str, Any]:
    return {name: one._asdict() if isinstance(one, Effect) else one for name, one in found._asdict().items()}
