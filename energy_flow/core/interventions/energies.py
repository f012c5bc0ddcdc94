"""Other energies than the carriers give.

Shapes: `B` samples, `F` rows, `C` energy channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..energy_carrier import CarrierOutput
from ..energy_lattice import EnergyLattice
from .counted_noise import normal_of
from .intervention import Intervention, Moment, require_within


@dataclass(frozen=True)
class AddNoise(Intervention):
    """Normal noise on the energies after the step.

    It follows from the seed, the step, the sample, the flow and the channel: neither the other samples nor the order of
    the rows nor the device change it.

    Attributes:
        std: its standard deviation; energies have a level of about 1 at launch.
        seed: 0 or more.
    """

    std: float
    seed: int = 0

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        if not self.std >= 0:
            raise ValueError(f"std = {self.std}; give 0 or more")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}; give 0 or more")

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        energy, flows = output.energy_value, moment.flows
        noise = normal_of(self.seed, moment.step, flows.sample, flows.flow_id, energy.shape[1]).to(energy.dtype)
        who = self.who(moment).unsqueeze(1).to(energy.dtype)
        return output._replace(energy_value=torch.add(energy, noise * who, alpha=self.std))


@dataclass(frozen=True)
class SwapEnergies(Intervention):
    """After the step, a flow has the energy of the flow of its id in another sample, where there is one.

    Attributes:
        sources: for each sample of the batch, the sample that its energies come from.
    """

    sources: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep_whole_numbers("sources")

    def check(self, lattice: EnergyLattice, batch: int) -> None:
        """As `Intervention.check`."""
        super().check(lattice, batch)
        if len(self.sources) != batch:
            raise ValueError(f"sources has {len(self.sources)} entries for {batch} rows; give one sample for each")
        require_within("sources", self.sources, 0, batch, "rows of the batch")

    def decide(self, moment: Moment, output: CarrierOutput) -> CarrierOutput:
        """As `Intervention.decide`."""
        flows, energy = moment.flows, output.energy_value
        ids = int(flows.next_id.max())
        rows = torch.full((flows.batch * ids,), -1, dtype=torch.int64, device=energy.device)
        rows[flows.sample * ids + flows.flow_id] = torch.arange(flows.size, device=energy.device)
        sources = torch.as_tensor(list(self.sources), device=energy.device).index_select(0, flows.sample)
        row = rows.index_select(0, sources * ids + flows.flow_id)
        there = (row >= 0) & self.who(moment)
        swapped = energy.index_select(0, row.clamp_min(0))
        return output._replace(energy_value=torch.where(there.unsqueeze(1), swapped, energy))
