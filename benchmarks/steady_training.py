"""Do 200 training steps in a row stay flat in time and memory, lose no flow, and reach every parameter?

The learning rate is the plan's, 1e-4 and constant: at higher rates the model soon splits less, and steps get shorter.

    python benchmarks/steady_training.py [--steps 200] [--preset tiny]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time

import torch
from common import publish

from energy_flow.config import create_config
from energy_flow.core import create_processor
from energy_flow.data import load_shipped
from energy_flow.training.losses import total_loss
from energy_flow.training.schedule import create_optimizer
from energy_flow.utils import DeviceManager, batch_slices, epoch_order

WARM_UP, WINDOW = 20, 50
COLUMNS = ("figure", "first 50 after warm-up", "last 50", "ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    data, config = load_shipped(), create_config(arguments.preset, batch_size=arguments.batch, learning_rate=1e-4)
    processor, devices = create_processor(config), DeviceManager("cpu", "float32")
    processor.mapper.calibrate(data.train.inputs, data.train.targets)
    optimizer = create_optimizer(processor, config)
    order = epoch_order(len(data.train), 0, 1)
    batches = list(batch_slices(len(order), config.batch_size))
    seconds, resident, unaccounted = [], [], 0
    reached = {name: False for name, _ in processor.named_parameters()}
    work = []
    for step in range(arguments.steps):
        rows = order[batches[step % len(batches)]]
        started = time.perf_counter()
        result = processor.run(data.train.inputs[rows])
        loss, _ = total_loss(result.output, data.train.targets[rows], config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
        resident.append(devices.memory().used)
        stats = result.stats
        work.append(int(stats.flow_steps))
        created = stats.launched + stats.spawned.sum(0)
        unaccounted += int((created - stats.arrived.sum(0) - stats.faded.sum(0)).abs().sum())
        for name, weight in processor.named_parameters():
            reached[name] |= weight.grad is not None and bool((weight.grad != 0).any())
        del result, loss
    gc.collect()
    per_flow_step = [time_ / count for time_, count in zip(seconds, work, strict=True)]
    rows = []
    for name, values in (
        ("seconds per step", seconds),
        ("microseconds per flow-step", [1e6 * value for value in per_flow_step]),
        ("resident MiB", [value / 2**20 for value in resident]),
    ):
        first = statistics.median(values[WARM_UP : WARM_UP + WINDOW])
        last = statistics.median(values[-WINDOW:])
        rows.append([name, first, last, last / first])
    missing = [name for name, found in reached.items() if not found]
    publish(
        "steady_training", f"{arguments.steps} training steps of {config.batch_size}, preset {arguments.preset}",
        COLUMNS, rows,
        flows_unaccounted_for=unaccounted, parameters=len(reached), parameters_without_gradient=missing,
    )  # fmt: skip
    print(f"flows unaccounted for: {unaccounted}; of {len(reached)} parameters without a gradient: {missing or 'none'}")
    print(f"torch threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
