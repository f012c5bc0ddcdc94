"""The lattice without what is between its faces. Shapes: `B` rows, `E` input width, `T` target width."""

from __future__ import annotations

from torch import Tensor, nn

from energy_flow.config import EnergyConfig
from energy_flow.core.embedding_mapper import EmbeddingMapper


class LatticeOff(nn.Module):
    """The faces alone: what the sites are given goes straight to the output. The lattice adds what this lacks."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.mapper = EmbeddingMapper(config)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, E) to (B, T); tied faces take any number of sites."""
        return self.mapper.to_embedding(self.mapper.to_sites(rows))
