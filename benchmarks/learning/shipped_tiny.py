"""What does `tiny` make of the shipped data, beside the definition's own embedding and a single matrix?

The matrix trains on the same rows with the same losses, optimizer, rate, batches and epochs. Intervals are 95 %,
bootstrap over the test rows.

    python -m benchmarks.learning.shipped_tiny [--seeds 0 1 2]
"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.common import parser_for, publish
from benchmarks.learning.rivals import identity_linear
from benchmarks.learning.training import predict, train
from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairData, load_shipped
from energy_flow.data.pairs import one_size
from energy_flow.training import EnergyTrainer, Judge

FIGURES = ("cosine", "centred_cosine", "median_rank", "acc_1", "acc_10", "acc_100")


def row(name: str, seed: str, outputs: torch.Tensor, data: PairData, seconds: float) -> list[Any]:
    judge = Judge(data.bank)
    test = one_size(data.name, data.test)
    metrics, bounds = judge.measure(outputs, test).to_dict(), judge.confidence_intervals(outputs, test)
    cells = [f"{metrics[one]:.4g} ({bounds[one][0]:.3g}-{bounds[one][1]:.3g})" for one in FIGURES]
    return [name, seed, *cells, round(seconds, 1)]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    data = load_shipped()
    test = one_size(data.name, data.test)
    rows = [row("input itself", "-", test.inputs[:], data, 0.0)]
    for seed in arguments.seeds:
        config = create_tiny_config(seed=seed, warmup_steps=100)
        started = time.perf_counter()
        torch.manual_seed(seed)
        matrix = identity_linear(config.input_embedding_dim, config.output_embedding_dim)
        train(matrix, data.train, config, config.epochs)
        middle = time.perf_counter()
        trainer = EnergyTrainer(create_processor(config), config)
        trainer.fit(data)
        seconds = time.perf_counter() - middle
        outputs = predict(matrix, test.inputs)
        rows.append(row("one matrix", str(seed), outputs, data, middle - started))
        rows.append(row("lattice, tiny", str(seed), trainer.predict(test.inputs), data, seconds))
    title = f"shipped data, test split, {len(data.test)} rows"
    publish(arguments.results / "shipped_tiny.json", title, ("system", "seed", *FIGURES, "seconds"), rows)


if __name__ == "__main__":
    main()
