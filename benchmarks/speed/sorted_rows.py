"""Do rows that are grouped by position make the field sums cheaper?

The sums over site columns and the gathering of neighbours, forward and backward, with a step's rows in four orders: by
site, as a run has them after some steps of wandering, shuffled, and sorted by site within the measured time.

    python -m benchmarks.speed.sorted_rows [--preset optimized] [--batch 4] [--repeats 21] [--device cuda]
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import seconds_of
from energy_flow.config import create_config
from energy_flow.core import Flows, create_processor
from energy_flow.utils import DeviceManager

COLUMNS = ("order of the rows", "rows", "ms, median", "least", "most")


def wander(flows: Flows, generator: torch.Generator, width: int, height: int) -> Flows:
    """Flows after a walk of some cells sideways, in the order in which they were launched."""
    steps = torch.randint(-9, 10, (flows.size, 2), generator=generator).to(flows.position)
    place = flows.position[:, :2] + steps
    place = torch.stack((place[:, 0].clamp(0, width - 1), place[:, 1].clamp(0, height - 1)), dim=1)
    return flows._replace(position=torch.cat((place, flows.position[:, 2:]), dim=1))


def leaf(flows: Flows) -> Flows:
    return flows._replace(energy=flows.energy.detach().requires_grad_())


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--preset", default="optimized")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    config = create_config(arguments.preset, carrier_hidden_size=8, carrier_num_layers=1)
    device = DeviceManager(arguments.device).device
    processor = create_processor(config).to(device)
    generator = torch.Generator().manual_seed(0)
    launched = processor.launch(torch.randn(arguments.batch, 768, generator=generator).to(device))
    wandered = leaf(wander(launched, generator, config.lattice_width, config.lattice_height))

    def place(flows: Flows) -> Tensor:
        return flows.sample * config.num_sites + processor.lattice.site_of(flows.position)

    def perceive(flows: Flows) -> None:
        state = processor.lattice.perceive(flows)
        processor.neuron.compute_features(flows.position, flows.energy, state).square().sum().backward()

    shuffled = leaf(wandered.rows(torch.randperm(wandered.size, generator=generator).to(device)))
    by_site = leaf(wandered.rows(place(wandered).argsort()))
    orders = {
        "by site": lambda: perceive(by_site),
        "as in a run": lambda: perceive(wandered),
        "shuffled": lambda: perceive(shuffled),
        "sorted first": lambda: perceive(wandered.rows(place(wandered).argsort())),
    }
    times: dict[str, list[float]] = {name: [] for name in orders}
    for repeat in range(-3, arguments.repeats):  # the first three warm up
        for name, work in orders.items():
            seconds, _ = seconds_of(work, device)
            times[name] += [1e3 * seconds] if repeat >= 0 else []
    table = [[name, wandered.size, *spread(found).values()] for name, found in times.items()]
    publish(arguments.results / "sorted_rows.json", "Field sums by the order of the rows", COLUMNS, table)


if __name__ == "__main__":
    main()
