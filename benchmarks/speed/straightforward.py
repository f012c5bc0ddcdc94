"""How much faster than what one would write first?

Flows of the same sizes, forward and backward, in `debug`'s lattice: with one `nn.GRU` call for every flow (and those of
one sample alone, as that takes long); and with one batched `nn.GRU` call a step whose flows are Python objects, moved
one by one. Both leave out what the lattice does beside (perceiving, splits, statistics): they carry and move flows, and
nothing else, so the ratio is a lower bound. All use the same precision.

    python -m benchmarks.speed.straightforward [--hidden 128 1024] [--precision float32 bfloat16] [--device cuda]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import ModelStep, seconds_of
from energy_flow.config import EnergyConfig, create_debug_config
from energy_flow.utils import DeviceManager

COLUMNS = ("what", "hidden", "precision", "flow-steps / s", "least", "most", "the lattice is faster by")


@dataclass
class Flow:
    """A flow as an object."""

    energy: Tensor  # (C,)
    position: list[float]
    hidden: Tensor  # (L, 1, N)


class Straightforward(nn.Module):
    """Flows one by one, or in one call with a loop around it."""

    def __init__(self, config: EnergyConfig, batched: bool) -> None:
        super().__init__()
        self.config, self.batched = config, batched
        hidden, layers = config.carrier_hidden_size, config.carrier_num_layers
        self.neuron = nn.Sequential(
            nn.Linear(3 + config.energy_dim, config.neuron_hidden_dim),
            nn.GELU(),
            nn.Linear(config.neuron_hidden_dim, config.neuron_output_dim),
        )
        self.gru = nn.GRU(config.carrier_input_dim, hidden, layers)
        self.heads = nn.Linear(hidden, 2 * config.energy_dim + 3)
        self.flow_steps = 0

    def forward(self, flows: list[Flow]) -> Tensor:
        arrived: list[Tensor] = []
        while flows:
            self.flow_steps += len(flows)
            groups = [flows] if self.batched else [[flow] for flow in flows]
            for group in groups:
                self._advance(group)
            last = self.config.lattice_depth - 1
            arrived += [flow.energy for flow in flows if flow.position[2] >= last]
            flows = [flow for flow in flows if flow.position[2] < last]
        return torch.stack(arrived)

    def _advance(self, group: list[Flow]) -> None:
        device = group[0].energy.device
        energy = torch.stack([flow.energy for flow in group])
        position = torch.tensor([flow.position for flow in group], device=device)
        signal = self.neuron(torch.cat((position, energy), dim=1))
        hidden = torch.cat([flow.hidden for flow in group], dim=1)
        top, hidden = self.gru(torch.cat((signal, energy), dim=1).unsqueeze(0), hidden)
        gate, delta, _ = self.heads(top[0]).split((self.config.energy_dim, self.config.energy_dim, 3), dim=1)
        energy = torch.sigmoid(gate + 5) * energy + delta
        for index, flow in enumerate(group):
            flow.energy, flow.hidden = energy[index], hidden[:, index : index + 1]
            flow.position[2] = min(flow.position[2] + self.config.initial_jump, self.config.lattice_depth - 1)


def launch(config: EnergyConfig, count: int, device: torch.device) -> list[Flow]:
    shape = (config.carrier_num_layers, 1, config.carrier_hidden_size)
    return [
        Flow(torch.randn(config.energy_dim, device=device), [0.0, 0.0, 0.0], torch.zeros(shape, device=device))
        for _ in range(count)
    ]


def straightforward_rate(config: EnergyConfig, batch: int, batched: bool, devices: DeviceManager) -> float:
    """Flow-steps a second, forward and backward."""
    model = Straightforward(config, batched).to(devices.device)

    def train() -> None:
        with devices.autocast():
            arrived = model(launch(config, batch * config.num_sites, devices.device))
        arrived.float().square().sum().backward()

    seconds, _ = seconds_of(train, devices.device)
    return model.flow_steps / seconds


def compare(config: EnergyConfig, device: str, repeats: int) -> list[list[object]]:
    lattice = ModelStep(config, config.batch_size, device)
    rates: dict[str, list[float]] = {"lattice": [], "one nn.GRU call a flow": [], "batched nn.GRU, Python flows": []}
    for repeat in range(-1, repeats):  # the first warms up
        forward, backward, _ = lattice.timed()
        found = [
            lattice.flow_steps / (forward + backward),
            straightforward_rate(config, 1, False, lattice.devices),
            straightforward_rate(config, config.batch_size, True, lattice.devices),
        ]
        for name, rate in zip(rates, found, strict=True):
            rates[name] += [rate] if repeat >= 0 else []
    table = []
    for name, found in rates.items():
        faster = spread([ours / theirs for ours, theirs in zip(rates["lattice"], found, strict=True)])["median"]
        table.append([name, config.carrier_hidden_size, lattice.devices.precision, *spread(found).values(), faster])
    return table


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 1024], help="1024 is the preset's own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    table = []
    for hidden in arguments.hidden:
        for precision in arguments.precision:
            config = create_debug_config(carrier_hidden_size=hidden, precision=precision)
            table += compare(config, arguments.device, arguments.repeats)
    publish(arguments.results / "straightforward.json", "Against what one would write first", COLUMNS, table)


if __name__ == "__main__":
    main()
