"""What does each part of a training step take?

One step of each preset under torch's profiler: the forward pass by the method that an operation is called from, the
backward pass by the part whose operations it answers. `dense` is neuron, GRU and heads; everything else is what the
lattice adds around them; the sums over site columns are made within the first layer's product, and their backward pass
counts as `dense`. Presets larger than `debug` run at batch 1 on a CPU, at their own batch on a GPU.

    python -m benchmarks.speed.step_parts [--presets debug optimized] [--precision auto]
        [--traces FOLDER] [--device cuda]

With --traces, a trace for Perfetto or chrome://tracing is written for each preset.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.common import parser_for, publish
from benchmarks.speed.model_step import ModelStep, seconds_of
from energy_flow.config import create_config
from energy_flow.core import EmbeddingMapper, EnergyCarrier, EnergyLattice, SimpleNeuron, flow_processor
from energy_flow.core.execution import Executor, executor
from energy_flow.core.ledger import RunLedger

PARTS: dict[str, list[tuple[Any, str]]] = {
    "dense": [(Executor, "update"), (Executor, "__init__")],
    "field sums, perceiving": [
        (EnergyLattice, "perceive"),
        (SimpleNeuron, "compute_features"),
        (executor, "layout_of"),
    ],
    "splits": [(flow_processor, "plan_splits"), (flow_processor, "keep_rest")],
    "compaction": [
        (Executor, "count"),
        (Executor, "regroup"),
        (EnergyCarrier, "spawn"),
        (flow_processor.Flows, "rows"),
        (flow_processor.Flows, "join"),
    ],
    "moving": [(Executor, "settle")],
    "collection": [
        (EnergyLattice, "collect_output_energy"),
        (RunLedger, "observe"),
        (RunLedger, "statistics"),
        (RunLedger, "arrivals"),
    ],
    "faces": [(EmbeddingMapper, "to_sites"), (EmbeddingMapper, "to_embedding")],
}
OPTIMIZER = "optimizer"
REST = "rest"
DENSE = ("dense", OPTIMIZER)  # the optimizer's work is that of the weights, whatever the lattice does
COLUMNS = ("preset", "precision", "batch", "flow-steps", "part", "forward ms", "backward ms", "share of the step")


def marked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        with record_function(part):
            return function(*arguments, **named)

    return call


def duration(event: Any, device: str) -> float:
    """Milliseconds: of the kernels on a GPU, of the call on a CPU."""
    return (event.device_time_total if device == "cuda" else event.cpu_time_total) / 1e3


def attribute(events: list[FunctionEvent], device: str) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds per part, forward and backward."""
    forward, backward = defaultdict[str, float](float), defaultdict[str, float](float)
    owner: dict[int, tuple[float, str]] = {}
    ranges = [event for event in events if event.name in PARTS]
    for event in ranges:
        forward[event.name] += duration(event, device) - sum(duration(inner, device) for inner in _within(event))
        _own(event, event.name, owner)
    for event in events:
        if event.name.startswith("autograd::engine::evaluate_function"):
            accumulates = "AccumulateGrad" in event.name
            _, part = owner.get(event.sequence_nr, (0.0, REST))
            backward["dense" if accumulates else part] += duration(event, device)
        elif event.name.startswith("Optimizer.step"):
            forward[OPTIMIZER] += duration(event, device)
    return forward, backward


def _within(event: FunctionEvent) -> list[FunctionEvent]:
    """The parts that were called within this one, and not within another part of it."""
    return [inner for child in event.cpu_children for inner in ([child] if child.name in PARTS else _within(child))]


def _own(event: FunctionEvent, part: str, owner: dict[int, tuple[float, str]]) -> None:
    """Note the part that a number of autograd's sequence belongs to: of the operations that bear it, the last made the
    node, and those before had none.
    """
    for child in event.cpu_children:
        if child.name in PARTS:
            continue  # it owns its operations itself
        if child.sequence_nr >= 0:
            owner[child.sequence_nr] = max(owner.get(child.sequence_nr, (0.0, part)), (child.time_range.start, part))
        _own(child, part, owner)


def measure(preset: str, precision: str, batch: int | None, device: str, traces: Path | None) -> list[list[object]]:
    config = create_config(preset, precision=precision)
    batch = batch or (config.batch_size if device == "cuda" or preset in ("tiny", "debug") else 1)
    with ExitStack() as patches:
        for part, places in PARTS.items():
            for owner, name in places:
                patches.enter_context(patch.object(owner, name, marked(part, getattr(owner, name))))
        step = ModelStep(config, batch, device)
        for _ in range(2):
            step.train()
        seconds = statistics.median(seconds_of(step.train, step.devices.device)[0] for _ in range(3))
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
        with profile(activities=activities) as profiler:
            profiled, _ = seconds_of(step.train, step.devices.device)
    if traces is not None:
        traces.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(traces / f"{preset}.json"))
    forward, backward = attribute(list(profiler.events() or []), device)
    forward[REST] = max(0.0, 1e3 * profiled - sum(forward.values()) - sum(backward.values()))
    table: list[list[object]] = []
    names = [*PARTS, OPTIMIZER, REST]
    about = [preset, step.devices.precision, batch, step.flow_steps]
    for name in names:
        share = (forward[name] + backward[name]) / (1e3 * profiled)
        table.append([*about, name, forward[name], backward[name], share])
    around = sum(forward[name] + backward[name] for name in names if name not in DENSE) / (1e3 * profiled)
    table.append([*about, "all but dense and optimizer", 1e3 * seconds, 1e3 * profiled, around])
    return table


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", "debug", "experiment", "optimized"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--batch", type=int, help="of every preset")
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    table = []
    for preset in arguments.presets:
        table += measure(preset, arguments.precision, arguments.batch, arguments.device, arguments.traces)
    note = "of the last row of a preset, the columns are the step's ms without and with the profiler"
    publish(arguments.results / "step_parts.json", "What each part of a training step takes", COLUMNS, table, note=note)


if __name__ == "__main__":
    main()
