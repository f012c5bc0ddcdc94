"""How far across the face a change of what enters is felt.

Shapes: `B` samples, `S` sites, `C` energy channels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core import EmbeddingMapper, FlowProcessor
from ..core.interventions import Intervention

PROBED_SITES = 16
WITHIN = 0.9  # share of the output's change


class Reach:
    """`d_90`, added up batch by batch: the distance within which 90 % of the output's change lies.

    What enters at one site is replaced by what enters there in another sample, one site after another. The change of
    the output is that of the energies read at the output face, squared and summed over channels, and its distance is
    that of the two sites' middles, in sites.

    Args:
        processor: the model, in the box that it runs in.
        intervene: what its flows do otherwise.
        seed: of the choice of sites, where a face has more than 16.
    """

    def __init__(self, processor: FlowProcessor, intervene: Sequence[Intervention] = (), seed: int = 0) -> None:
        columns, rows = processor.config.sites
        site = torch.arange(columns * rows)
        place = torch.stack((site % columns, site // columns), dim=1).double()
        self._distance = torch.cdist(place, place)  # (S, S)
        random = torch.Generator().manual_seed(seed)
        self._probed = torch.randperm(len(site), generator=random)[:PROBED_SITES].tolist()
        self._processor, self._intervene = processor, intervene
        self._change = torch.zeros(len(site), len(site), dtype=torch.float64)  # (site changed, site read)

    @torch.no_grad()
    def observe(self, inputs: Tensor) -> None:
        """Add some samples: (B, E in), at least two, on the model's device."""
        untouched = self._read(inputs, None)
        for site in self._probed:
            change = (self._read(inputs, site) - untouched).square().sum((0, 2))
            self._change[site] += change.cpu().double()

    def distance(self, within: float = WITHIN) -> float | None:
        """The distance in sites; None where nothing changed."""
        order = self._distance.flatten().argsort()
        total = self._change.flatten()[order].cumsum(0)
        if total[-1] <= 0:
            return None
        place = int((total < within * total[-1] * (1 - 1e-9)).sum())
        return float(self._distance.flatten()[order][place])

    def _read(self, inputs: Tensor, site: int | None) -> Tensor:
        """(B, S, C) energies at the output face, with what enters at one site taken from the sample before."""
        probe = _Probe(self._processor.mapper, site)
        view = copy.copy(self._processor)
        view._modules = {**self._processor._modules, "mapper": probe}
        view.run(inputs, intervene=self._intervene)
        assert probe.read is not None
        return probe.read


class _Probe(nn.Module):
    """The faces of a model, with one site's energies from another sample, and an eye on what is read."""

    def __init__(self, mapper: EmbeddingMapper, site: int | None) -> None:
        super().__init__()
        self.mapper, self.site = mapper, site
        self.tied, self.input_weight = mapper.tied, mapper.input_weight
        self.read: Tensor | None = None

    def to_sites(self, embeddings: Tensor) -> Tensor:
        energies = self.mapper.to_sites(embeddings)
        if self.site is not None:
            energies = energies.clone()
            energies[:, self.site] = energies[:, self.site].roll(1, dims=0)
        return energies

    def to_embedding(self, energies: Tensor) -> Tensor:
        self.read = energies
        return self.mapper.to_embedding(energies)
