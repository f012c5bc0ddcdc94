"""All measures of one system, added up batch by batch.

Shapes: `N` samples, `S` sites, `D` planes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .counts import pair
from .flux import Flux, concentration, effective_channels, entropy_rate, mean_effective_channels
from .information import Information, LabelInformation
from .labels import Labels
from .modularity import modularity
from .routes import Routes
from .shapes import Shapes


class Value(NamedTuple):
    """What a measure found."""

    value: float | None  # None where it is not defined
    chance: float | None = None  # the same by chance alone, which the value is to be read against
    low: float | None = None  # 95 % interval
    high: float | None = None
    p_value: float | None = None


class Emergence:
    """Counts over the flows of one system: a model with its own routes, or a null of it.

    Args:
        sites: columns and rows.
        depth: D.
        labels: the class of every sample.
        permutations: of the classes over samples, for what chance alone tells about them.
    """

    def __init__(self, sites: tuple[int, int], depth: int, labels: Labels, permutations: int = 20) -> None:
        self.sites = sites
        self.flux = Flux(sites[0] * sites[1], depth)
        self._shapes = Shapes()
        self._of_arrival, self._of_route, self._of_flux = (
            LabelInformation(labels.values, permutations) for _ in range(3)
        )

    def observe(self, routes: Routes, first: int = 0) -> None:
        """Add some samples.

        Args:
            routes: of their flows.
            first: the number in the set of their first sample.
        """
        sample = routes.sample + first
        self.flux.observe(routes)
        self._shapes.observe(routes)
        self._of_arrival.observe(routes.arrival, routes.origin, sample)
        self._of_route.observe(routes.route, routes.origin, sample)
        moved = sample[routes.flow]
        edge = pair(routes.start, routes.end)
        self._of_flux.observe(edge, torch.zeros_like(edge), moved, routes.mass)

    @property
    def specialisation(self) -> Information:
        """Jensen-Shannon divergence in bits of the classes' flux maps, each with its share of the flux (Lin 1991)."""
        return self._of_flux.result()

    def measures(self) -> dict[str, Value]:
        """Every measure by its name; see `MEASURES` in `catalogue`."""
        flux = self.flux
        parts = modularity(flux.start, flux.end, flux.mass, flux.sites)
        return {
            "effective_channels": Value(mean_effective_channels(flux.map)),
            "concentration": Value(concentration(flux.mass)),
            "entropy_rate": Value(entropy_rate(flux.start, flux.mass)),
            "information_arrival": _of(self._of_arrival.result()),
            "information_route": _of(self._of_route.result()),
            "specialisation": _of(self.specialisation),
            "modularity": Value(None) if parts is None else Value(parts.value, parts.shuffled),
        } | {name: Value(value) for name, value in self._shapes.measures().items()}

    def channels_by_plane(self) -> list[float | None]:
        """`effective_channels` of every plane; None where no flow stood."""
        return effective_channels(self.flux.map)


def _of(found: Information) -> Value:
    return Value(found.value, found.permuted, p_value=found.p_value)
