"""Do flows collapse into few sites? Random configurations of sane sizes and rates, trained a little.

Every configuration draws its pieces, energy rule, mover, reader, faces, children, depth, read-outs and learning rate.
One has collapsed where less than a quarter of the sites of the output face receive anything, and is broken where a
number is not finite.

    python -m benchmarks.learning.collapse --count 50
"""

from __future__ import annotations

import random
import time
from typing import Any

import torch

from benchmarks.common import parser_for, publish, write_tables
from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import create_processor
from energy_flow.data import make_task
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import data_settings
from energy_flow.training import EnergyTrainer, NonFiniteError

COLLAPSED = 0.25  # of the sites
PIECES = ("coordinates", "relative", "harmonics", "recall", "site", "cross", "neighbours", "sample", "attention")
TASK = "conditional-permutation"


def draw(choose: random.Random, fields: dict[str, Any]) -> EnergyConfig:
    """A sane configuration."""
    mover = choose.choice(("free", "bounded", "straight", "pointer"))
    depth, children = choose.choice((4, 7, 13)), choose.choice((0, 0, 2))
    return create_config(
        "tiny",
        **fields
        | {
            "lattice_width": choose.choice((4, 12)),
            "lattice_height": choose.choice((4, 12)),
            "lattice_depth": depth,
            "initial_steps": choose.choice((depth - 1, (depth - 1) // 2 + 1)),
            "max_jump": choose.choice((None, 1, 2)),
            "sites": (4, 4),
            "mapping": choose.choice(("local", "mixed", "tied")),
            "energy_dim": choose.choice((8, 16, 32)),
            "features": ("energy", *choose.sample(PIECES, choose.randint(1, 4))),
            "energy_rule": choose.choice(("gated", "column", "origin", "kept")),
            "mover": mover,
            "reader": "aimed" if mover == "pointer" else choose.choice(("bilinear", "nearest")),
            "aim_entropy": 0.1 if mover == "pointer" else 0.0,
            "max_children": children,
            "max_active_flows": 16 + 8 * (children > 0),
            "carrier_hidden_size": choose.choice((32, 64)),
            "carrier_num_layers": choose.choice((1, 2)),
            "neuron_hidden_dim": 32,
            "neuron_output_dim": 32,
            "neuron_gate": choose.random() < 0.3,
            "learning_rate": choose.choice((3e-4, 1e-3, 3e-3)),
            "loss_along": choose.choice((0.0, 0.5)),
            "ema_decay": choose.choice((0.0, 0.99)),
            "batch_size": 64,
            "warmup_steps": 20,
            "seed": choose.randrange(1000),
        },
    )


def main() -> None:
    """Train every configuration and look at what its flows reach."""
    parser = parser_for(__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = make_task(TASK, options.steps * 64, 200)
    choose, rows = random.Random(0), []
    for number in range(options.count):
        config = draw(choose, data_settings(data)).replace(epochs=1)
        processor = create_processor(config)
        started, finite = time.perf_counter(), True
        try:
            EnergyTrainer(processor, config).fit(data)
        except NonFiniteError:
            finite = False
        with torch.no_grad():
            stats = processor.eval().run(one_size(TASK, data.test).inputs[:]).stats
        what = f"{config.mover}, {config.energy_rule}, {config.mapping}, {config.learning_rate:g}"
        coverage = float(stats.coverage.mean())
        rows.append([number, what, coverage, finite, round(time.perf_counter() - started, 1)])
    collapsed, broken = sum(row[2] < COLLAPSED for row in rows), sum(not row[3] for row in rows)
    columns = ["number", "configuration", "coverage", "finite", "seconds"]
    title = f"{options.count} random configurations, {options.steps} steps: {collapsed} collapsed, {broken} not finite"
    path = options.results / "collapse.json"
    publish(path, title, columns, rows, collapsed=collapsed, broken=broken)
    write_tables(path, title, columns, rows)


if __name__ == "__main__":
    main()
