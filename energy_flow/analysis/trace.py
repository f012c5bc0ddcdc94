"""Every flow of some samples at every step, as a table.

Shapes: `R` records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from ..config import Box, EnergyConfig
from ..core.flows import FlowResult
from ..core.readers import site_of


@dataclass(frozen=True)
class Trace:
    """Every flow of chosen samples at every step, one record each, in order of time; CPU tensors."""

    box: Box
    sites: tuple[int, int]
    step: Tensor
    sample: Tensor
    flow_id: Tensor
    parent_id: Tensor
    position: Tensor
    site: Tensor
    level: Tensor
    mass: Tensor
    event: Tensor
    energy: Tensor | None = None

    @classmethod
    def of(cls, result: FlowResult, config: EnergyConfig) -> Self:
        """The records of a run."""
        one = result.trace
        assert one is not None
        columns = (one.step, one.sample, one.flow_id, one.parent_id, one.position, site_of(one.position, config))
        return cls(config.box, config.sites, *(c.cpu() for c in (*columns, one.level, one.mass, one.event)))
