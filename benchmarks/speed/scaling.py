"""Does the cost follow the live flows and nothing else?

Two pairs, each taking turns: a lattice with a hundred times the cells and the same flows, which should cost the same;
and half the samples, that is half the live flows, which should cost half. Ratios are of steps that follow each other.

    python -m benchmarks.speed.scaling [--hidden 256] [--rows 2048] [--repeats 9] [--device cuda]
"""

from __future__ import annotations

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import ModelStep, seconds_of
from energy_flow.config import EnergyConfig, create_debug_config

COLUMNS = (
    "what", "cells", "other cells", "flow-steps", "other flow-steps", "step s", "other step s", "ratio, median",
    "least", "most",
)  # fmt: skip


def compare(what: str, one: ModelStep, other: ModelStep, repeats: int) -> list[object]:
    pairs = []
    for _ in range(repeats + 2):
        pairs.append([seconds_of(step.train, step.devices.device)[0] for step in (one, other)])
    pairs = pairs[2:]  # the first two warm up
    seconds = [spread(column)["median"] for column in zip(*pairs, strict=True)]
    ratio = spread([theirs / ours for ours, theirs in pairs])
    steps = (one, other)
    cells, work = ([step.config.num_cells for step in steps], [step.flow_steps for step in steps])
    return [what, *cells, *work, *seconds, *ratio.values()]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    # no children: every flow goes straight ahead, so both lattices have the same flow-steps
    small: EnergyConfig = create_debug_config(carrier_hidden_size=arguments.hidden, max_children=0, initial_steps=5)
    large = small.replace(lattice_width=81, lattice_height=81, lattice_depth=61)
    batch = -(-arguments.rows // small.num_sites)

    def step(config: EnergyConfig, samples: int) -> ModelStep:
        return ModelStep(config, samples, arguments.device)

    table = [
        compare("a hundred times the cells", step(small, batch), step(large, batch), arguments.repeats),
        compare("half the live flows", step(small, batch), step(small, batch // 2), arguments.repeats),
    ]
    publish(arguments.results / "scaling.json", "Cost against cells and live flows", COLUMNS, table)


if __name__ == "__main__":
    main()
