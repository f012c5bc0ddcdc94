"""Do 200 training steps in a row stay flat in time and memory, lose no flow, and reach every parameter?

A hundred steps of warm-up come first, in which the heap's high-water mark settles (LOG). The learning rate is the
default, 1e-4 and constant: at higher rates the model soon splits less, and steps get shorter.

    python -m benchmarks.reliability.steady_training [--steps 200] [--preset tiny]
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from benchmarks.common import parser_for, publish
from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import FlowProcessor, create_processor
from energy_flow.data import load_shipped
from energy_flow.data.pairs import one_size
from energy_flow.training.losses import total_loss
from energy_flow.training.optimizers import create_optimizer
from energy_flow.utils import DeviceManager, batch_slices, epoch_order

WARM_UP, WINDOW = 100, 50
COLUMNS = ("figure", "first 50 after warm-up", "last 50", "ratio")


@dataclass
class Record:
    """What 200 steps left behind."""

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    flow_steps: list[int] = field(default_factory=list)
    unaccounted: int = 0  # flows that neither arrived nor faded
    reached: set[str] = field(default_factory=set)  # parameters that had a gradient


def train(config: EnergyConfig, steps: int) -> tuple[FlowProcessor, Record]:
    data, record, devices = load_shipped(), Record(), DeviceManager("cpu", "float32")
    processor = create_processor(config)
    pairs = one_size(data.name, data.train)
    processor.mapper.calibrate(pairs.inputs, pairs.targets)
    optimizer = create_optimizer(processor, config)
    order = epoch_order(len(pairs), 0, 1)
    batches = list(batch_slices(len(order), config.batch_size))
    for step in range(steps):
        rows = order[batches[step % len(batches)]]
        started = time.perf_counter()
        result = processor.run(pairs.inputs.index_select(0, rows))
        loss, _ = total_loss(result.output, pairs.targets.index_select(0, rows), config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        record.seconds.append(time.perf_counter() - started)
        record.resident.append(devices.memory().used)
        record.flow_steps.append(int(result.stats.flow_steps))
        stats = result.stats
        ended = stats.arrived.sum(0) + stats.faded.sum(0)
        record.unaccounted += int((stats.launched + stats.spawned.sum(0) - ended).abs().sum())
        for name, weight in processor.named_parameters():
            if weight.grad is not None and bool((weight.grad != 0).any()):
                record.reached.add(name)
    return processor, record


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    config = create_config(arguments.preset, batch_size=arguments.batch, learning_rate=1e-4)
    processor, record = train(config, WARM_UP + arguments.steps)
    figures = {
        "seconds per step": record.seconds,
        "microseconds per flow-step": [1e6 * s / n for s, n in zip(record.seconds, record.flow_steps, strict=True)],
        "resident MiB": [used / 2**20 for used in record.resident],
    }
    rows = []
    for name, values in figures.items():
        first = statistics.median(values[WARM_UP : WARM_UP + WINDOW])
        last = statistics.median(values[-WINDOW:])
        rows.append([name, first, last, last / first])
    names = [name for name, _ in processor.named_parameters()]
    missing = [name for name in names if name not in record.reached]
    publish(
        arguments.results / "steady_training.json",
        f"{arguments.steps} steps of {config.batch_size} after {WARM_UP} of warm-up, preset {arguments.preset}",
        COLUMNS,
        rows,
        flows_unaccounted_for=record.unaccounted,
        parameters=len(names),
        parameters_without_gradient=missing,
    )
    print(f"flows unaccounted for: {record.unaccounted}; of {len(names)} parameters, no gradient: {missing or 'none'}")


if __name__ == "__main__":
    main()
