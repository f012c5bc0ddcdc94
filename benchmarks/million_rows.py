"""How much memory does training on a set far larger than the memory's share take?

Writes synthetic vectors as pair sets, and trains one epoch on each in a process of its own, the whole road: checks,
calibration, training, validation. What the larger set's peak has beyond the smaller's is what the rows cost.

    python benchmarks/million_rows.py [--rows 1000000] [--width 384] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import parser_for, publish

from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import load_data
from energy_flow.data.pair_folder import write_pair_folder
from energy_flow.data.sources import data_settings
from energy_flow.training import EnergyTrainer
from energy_flow.utils import DeviceManager

BLOCK = 10_000
SMALL = 10_000
MODEL: dict[str, Any] = {
    "carrier_hidden_size": 16,
    "carrier_num_layers": 1,
    "neuron_hidden_dim": 16,
    "neuron_output_dim": 16,
    "initial_steps": 2,
    "max_children": 0,
    "features": "none",
    "batch_size": 1024,
    "epochs": 1,
    "loss_contrastive": 0.0,
}
COLUMNS = ("rows", "set GiB", "peak resident GiB", "training rows a second", "seconds", "validation cosine")


def blocks(rows: int, width: int) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Random unit vectors and their rotation; a tenth for validation, a tenth for the test."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    for start in range(0, rows, BLOCK):
        inputs = torch.nn.functional.normalize(torch.randn(min(BLOCK, rows - start), width, generator=generator), dim=1)
        tenths = len(inputs) // 10
        for split, part in zip(("train", "validation", "test"), (8, 1, 1), strict=True):
            begin = {"train": 0, "validation": 8, "test": 9}[split] * tenths
            chosen = slice(begin, begin + part * tenths)
            yield split, inputs[chosen], inputs[chosen] @ rotation


def measure(folder: Path) -> list[Any]:
    started = time.perf_counter()
    data = load_data(str(folder))
    config = create_tiny_config(**data_settings(data) | MODEL)
    trainer = EnergyTrainer(create_processor(config), config)
    begun = time.perf_counter()
    result = trainer.fit(data)
    rate = len(data.train) / (time.perf_counter() - begun)
    report = result.epochs[-1].validation
    assert report is not None  # the set has a validation split
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**30
    peak = DeviceManager("cpu").memory().peak / 2**30
    rows = len(data.train) + len(data.validation) + len(data.test)
    return [rows, size, peak, rate, time.perf_counter() - started, report.cosine]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the sets are written")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child)))
        return
    table = []
    for rows in (SMALL, arguments.rows):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name) / "set"
            write_pair_folder(folder, rows, blocks(rows, arguments.width), {"name": "synthetic vectors"})
            command = [sys.executable, str(Path(__file__)), "--child", str(folder)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            table.append(json.loads(said.splitlines()[-1]))
    beyond = table[1][2] - table[0][2]
    title = (
        f"One epoch on synthetic vectors of width {arguments.width}; {beyond:.2f} GiB more for {arguments.rows} rows"
    )
    publish(arguments.results / "million_rows.json", title, COLUMNS, table, beyond_gib=beyond, model=MODEL)


if __name__ == "__main__":
    main()
