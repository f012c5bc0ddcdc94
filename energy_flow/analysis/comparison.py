"""Several runs of one kind beside each other: how far their values spread, and how alike their flux is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .catalogue import MEASURES
from .emergence import Value
from .stability import shuffled_stability, stability
from .study import SYSTEMS, Analysis


@dataclass(frozen=True)
class Comparison:
    """Of several runs.

    Attributes:
        values: of every system, for every measure the values of the runs that have one, less what chance gives where
            chance feeds the measure.
        stability: of every system, how alike the runs' flux is, and by chance.
    """

    values: Mapping[str, Mapping[str, list[float]]]
    stability: Mapping[str, Value]

    @classmethod
    def of(cls, analyses: Sequence[Analysis], face: tuple[int, int]) -> Comparison:
        """Compare runs.

        Args:
            analyses: of each run, two at least, in boxes of one size.
            face: columns and rows of the sites.

        Raises:
            ValueError: fewer than two runs.
        """
        if len(analyses) < 2:
            raise ValueError(f"{len(analyses)} runs; give two at least to compare")
        values: dict[str, dict[str, list[float]]] = {system: {} for system in SYSTEMS}
        alike = {}
        for system in SYSTEMS:
            for name in analyses[0].measures[system]:
                found = [value_beyond_chance(name, one.measures[system][name]) for one in analyses]
                values[system][name] = [value for value in found if value is not None]
            runs = [one.edges[system] for one in analyses]
            alike[system] = Value(stability(runs, face), shuffled_stability(runs, face))
        return cls(values, alike)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "values": {system: dict(found) for system, found in self.values.items()},
            "stability": {system: value._asdict() for system, value in self.stability.items()},
        }


def value_beyond_chance(name: str, value: Value) -> float | None:
    """The value of a measure, less what chance gives where chance feeds it."""
    if value.value is None or not MEASURES[name].less_chance:
        return value.value
    return value.value - (value.chance or 0.0)
