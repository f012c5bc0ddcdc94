"""How many flow-steps a second, against rows in a step, hidden size and layers? And what do the passes take?

A lattice of `debug`'s shape whose batch gives the rows; one thing varies at a time, the others stay in the middle.

    python -m benchmarks.speed.throughput [--rows 64 256 1024 4096] [--hidden 128 1024] [--layers 1 2 3] [--device cuda]
"""

from __future__ import annotations

import statistics

from benchmarks.common import parser_for, publish, spread
from benchmarks.speed.model_step import ModelStep
from energy_flow.config import create_debug_config

COLUMNS = (
    "rows", "hidden", "layers", "precision", "flow-steps", "forward s", "backward s", "optimizer s", "step s, median",
    "least", "most", "flow-steps / s", "GFLOP / s",
)  # fmt: skip


def measure(rows: int, hidden: int, layers: int, precision: str, device: str, repeats: int) -> list[object]:
    config = create_debug_config(carrier_hidden_size=hidden, carrier_num_layers=layers, precision=precision)
    step = ModelStep(config, -(-rows // config.num_sites), device)
    times = [step.timed() for _ in range(repeats + 2)][2:]  # the first two warm up
    whole = [sum(parts) for parts in times]
    parts = [statistics.median(part) for part in zip(*times, strict=True)]
    seconds = spread(whole)
    rate = step.flow_steps / seconds["median"]
    done = step.flops / seconds["median"] / 1e9
    return [rows, hidden, layers, step.devices.precision, step.flow_steps, *parts, *seconds.values(), rate, done]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--rows", nargs="+", type=int, default=[64, 256, 1024, 4096])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 256, 512, 1024])
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    middle = (1024, 256, 2)
    cases = [(rows, *middle[1:]) for rows in arguments.rows]
    cases += [(middle[0], hidden, middle[2]) for hidden in arguments.hidden]
    cases += [(*middle[:2], layers) for layers in arguments.layers]
    table = [measure(*case, arguments.precision, arguments.device, arguments.repeats) for case in dict.fromkeys(cases)]
    publish(arguments.results / "throughput.json", "Flow-steps a second", COLUMNS, table)


if __name__ == "__main__":
    main()
