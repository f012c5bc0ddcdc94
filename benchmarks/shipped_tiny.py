"""What does `tiny` make of the shipped data, beside the definition's own embedding and a single matrix?

The matrix trains on the same rows with the same losses, optimizer, rate, batches and epochs. Intervals are 95 %,
bootstrap over the test rows.

    python benchmarks/shipped_tiny.py [--seeds 0 1 2]
"""

from __future__ import annotations

import time
from typing import Any

import torch
from common import parser_for, publish
from torch import nn

from energy_flow.config import EnergyConfig, create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairData, load_shipped
from energy_flow.training import EnergyTrainer, Judge
from energy_flow.training.losses import total_loss
from energy_flow.training.schedule import create_optimizer, learning_rate_factor
from energy_flow.utils import batch_slices, epoch_order

FIGURES = ("cosine", "centred_cosine", "median_rank", "acc_1", "acc_10", "acc_100")


def train_matrix(data: PairData, config: EnergyConfig) -> torch.Tensor:
    """A 384 x 384 matrix that starts as the identity; its outputs on the test rows."""
    model = nn.Linear(config.input_embedding_dim, config.output_embedding_dim, bias=False)
    nn.init.eye_(model.weight)
    optimizer = create_optimizer(model, config)
    batches = list(batch_slices(len(data.train), config.batch_size))
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(len(data.train), config.seed, epoch)
        for number, rows in enumerate(batches):
            step = (epoch - 1) * len(batches) + number
            for group in optimizer.param_groups:
                factor = learning_rate_factor(step, config.epochs * len(batches), config)
                group["lr"] = config.learning_rate * factor
            chosen = order[rows]
            loss, _ = total_loss(model(data.train.inputs[chosen]), data.train.targets[chosen], config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return model(data.test.inputs)


def row(name: str, seed: str, outputs: torch.Tensor, data: PairData, seconds: float) -> list[Any]:
    judge = Judge(data.bank)
    metrics, bounds = judge.measure(outputs, data.test).to_dict(), judge.confidence_intervals(outputs, data.test)
    cells = [f"{metrics[one]:.4g} ({bounds[one][0]:.3g}-{bounds[one][1]:.3g})" for one in FIGURES]
    return [name, seed, *cells, round(seconds, 1)]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    data = load_shipped()
    rows = [row("input itself", "-", data.test.inputs, data, 0.0)]
    for seed in arguments.seeds:
        config = create_tiny_config(seed=seed)
        started = time.perf_counter()
        matrix = train_matrix(data, config)
        middle = time.perf_counter()
        trainer = EnergyTrainer(create_processor(config), config)
        trainer.fit(data)
        seconds = time.perf_counter() - middle
        rows.append(row("one matrix", str(seed), matrix, data, middle - started))
        rows.append(row("lattice, tiny", str(seed), trainer.predict(data.test.inputs), data, seconds))
    title = f"shipped data, test split, {len(data.test)} rows"
    publish(arguments.results / "shipped_tiny.json", title, ("system", "seed", *FIGURES, "seconds"), rows)


if __name__ == "__main__":
    main()
