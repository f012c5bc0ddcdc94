"""Do routes carry content? A lattice that must carry every block to its place, with its own routes, others, and none.

With tied faces a block enters at its own site and leaves at the site where its flow arrives; with the energy kept as it
was launched (`energy_rule = kept`), moving is the only way. Printed per seed: R2 of the outputs; the share of the flows
that arrive within half a site of their block's place, but for the selector's; R2 with the routes of a sample that has
another order; and R2 of the same lattice trained with frozen moves.

    python -m benchmarks.learning.delivery --seeds 0 1 2
    python -m benchmarks.learning.delivery --side 8 --orders 16 --steps 3000 --seeds 0 1
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import parser_for, publish, write_tables
from benchmarks.learning.matching import count_parameters
from energy_flow.config import PRESETS, EnergyConfig
from energy_flow.core import Aimed, FlowProcessor, create_processor
from energy_flow.data import TASKS, PairSet, Sizes, make_task
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import settings_with_room
from energy_flow.data.tasks import delivery_sites
from energy_flow.training import EnergyTrainer

TEST_ROWS = 1000
LARGE = {  # a table of 64 places and 16 orders asks for more of the neuron
    "place_harmonics": 7,
    "neuron_gate": True,
    "neuron_hidden_dim": 128,
    "neuron_output_dim": 48,
    "carrier_hidden_size": 48,
    "exchange_dim": 16,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "aim_entropy": 0.2,
    "aim_entropy_until": 0.7,
}


def judge(processor: FlowProcessor, test: PairSet, sites: Tensor) -> dict[str, float]:
    """R2, the share delivered, and R2 with the routes of another sample, of a model that does not train.

    Args:
        processor: the model.
        test: N rows of S blocks.
        sites: (N, S) int64, the place of every block.
    """
    processor.eval()
    columns, metric = processor.config.sites[0], TASKS["delivery"].metric
    with torch.no_grad():
        result = processor.run(test.inputs[:], record=True)
        assert result.trace is not None
        last = result.trace.step == result.stats.steps
        place = torch.zeros(*sites.shape, 2)
        place[result.trace.sample[last], result.trace.flow_id[last]] = result.trace.position[last, :2]
        wanted = torch.stack((sites % columns, sites // columns), dim=2)
        near = ((place - wanted).abs() < 0.5).all(2)[:, 1:]
        replay = processor.carrier.mover.register_forward_hook(_replay(place[another_order(sites)], processor))
        transplanted = processor(test.inputs[:])
        replay.remove()
    return {
        "R2": metric(result.output, test.targets[:]),
        "delivered": float(near.float().mean()),
        "R2, another's routes": metric(transplanted, test.targets[:]),
    }


def another_order(sites: Tensor) -> Tensor:
    """(N,) int64: for each row one whose blocks go elsewhere."""
    shifted = torch.arange(len(sites))
    for shift in range(1, len(sites)):
        same = (sites[shifted] == sites).all(1)
        if not same.any():
            break
        shifted = torch.where(same, (torch.arange(len(sites)) + shift) % len(sites), shifted)
    return shifted


def _replay(place: Tensor, processor: FlowProcessor) -> Any:
    """A hook on the mover: flows arrive where those of other samples did, in the order of the launch."""

    def hook(mover: Any, inputs: Any, moved: Aimed) -> Aimed:
        arrives = moved.position[:, 2:] >= processor.config.lattice_depth - 1
        across = torch.where(arrives, place.flatten(0, 1).to(moved.position.dtype), moved.position[:, :2])
        return moved._replace(position=torch.cat((across, moved.position[:, 2:]), dim=1))

    return hook


def measure(side: int, orders: int, steps: int, seed: int) -> dict[str, Any]:
    """Train with the pointer and with frozen moves, and judge both."""
    preset = PRESETS["pointer"] | (LARGE if orders > 4 else {})
    rows = steps * preset["batch_size"]
    data = make_task("delivery", rows, TEST_ROWS, seed, Sizes.one((side, side)), {"orders": orders})
    test = one_size(data.name, data.test)
    sites = delivery_sites(test.inputs[:], seed, orders)
    config = EnergyConfig.from_dict(preset | settings_with_room(preset, data) | {"seed": seed})
    processor = create_processor(config)
    started = time.perf_counter()
    EnergyTrainer(processor, config).fit(data)
    seconds = time.perf_counter() - started
    still = config.replace(mover="straight", reader="bilinear")
    frozen = create_processor(still)
    EnergyTrainer(frozen, still).fit(data)
    frozen_r2 = TASKS["delivery"].metric(frozen.eval()(test.inputs[:]).detach(), test.targets[:])
    return {
        "seed": seed,
        "parameters": count_parameters(processor),
        "seconds": round(seconds, 1),
        **{name: round(value, 4) for name, value in judge(processor, test, sites).items()},
        "R2, frozen moves": round(frozen_r2, 4),
    }


def main() -> None:
    """Measure every seed."""
    parser = parser_for(__doc__)
    parser.add_argument("--side", type=int, default=4)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = [measure(options.side, options.orders, options.steps, seed) for seed in options.seeds]
    blocks = options.side**2
    title = f"delivery of {blocks} blocks in {options.orders} orders, {options.steps} steps"
    columns, rows = list(found[0]), [list(one.values()) for one in found]
    path = options.results / f"delivery_{blocks}_{options.orders}.json"
    publish(path, title, columns, rows, steps=options.steps)
    write_tables(path, title, columns, rows, steps=options.steps)


if __name__ == "__main__":
    main()
