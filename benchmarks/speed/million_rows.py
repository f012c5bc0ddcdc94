"""How much memory do embedding and training take on a set far larger than the memory's share?

Embeds a file of short texts with a stand-in for an encoder, so that the road is measured and not a model; writes
synthetic vectors as a pair set, and trains one epoch on it: checks, calibration, training, validation; and sends
synthetic vectors of an `.npy` file through a model to Parquet with `energy-flow predict`, once in one go, and once
killed twice on the way: both files must have the same bits. Each in a process of its own, for a small set and a large
one; what the larger one's peak has beyond the smaller's is what the rows cost.

    python -m benchmarks.speed.million_rows [--rows 1000000] [--width 384] [--folder FOLDER] [--what predicting]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import parser_for, publish
from energy_flow.cli import main as energy_flow_command
from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import load_data
from energy_flow.data.embedding import EmbedJob
from energy_flow.data.pair_folder import write_pair_folder
from energy_flow.data.sources import data_settings
from energy_flow.data.storing import write_npy_header
from energy_flow.data.text_rows import PairRows
from energy_flow.training import EnergyTrainer, save_model
from energy_flow.utils import DeviceManager
from energy_flow.utils.files import sha256_of

BLOCK = 10_000
SMALL = 10_000
WHAT = ("embedding", "training", "predicting")
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
COLUMNS = ("what", "rows", "set GiB", "peak resident GiB", "beyond the small set's GiB", "rows a second")


class LetterEncoder:
    """Stands in for a sentence encoder: rows from a table, by the length and the last letter of a text."""

    name = "letters"

    def __init__(self, width: int) -> None:
        self._table = torch.randn(256, width, generator=torch.Generator().manual_seed(0))

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        return self._table[torch.tensor([(len(text) + 7 * ord(text[-1])) % 256 for text in texts])]


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


def embed(folder: Path, width: int) -> dict[str, float]:
    encoder = LetterEncoder(width)
    started = time.perf_counter()
    manifest = EmbedJob(PairRows(folder / "pairs.jsonl", "input", "target"), folder / "set", encoder, encoder).run()
    return report(folder / "set", manifest["pairs"], time.perf_counter() - started)


def report(folder: Path, rows: int, seconds: float) -> dict[str, float]:
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 2**30
    peak = DeviceManager("cpu").memory().peak / 2**30
    return {"rows": rows, "size": size, "peak": peak, "rate": rows / seconds}


def train(folder: Path) -> dict[str, float]:
    data = load_data(str(folder))
    config = create_tiny_config(**data_settings(data) | MODEL)
    trainer = EnergyTrainer(create_processor(config), config)
    started = time.perf_counter()
    trainer.fit(data)
    return report(folder, len(data.train), time.perf_counter() - started)


def predict(folder: Path, output: str) -> dict[str, float]:
    started = time.perf_counter()
    given = ["--inputs", str(folder / "inputs.npy"), "--output", str(folder / output), "--device", "cpu"]
    energy_flow_command(["predict", str(folder / "model"), *given])
    rows = np.load(folder / "inputs.npy", mmap_mode="r").shape[0]
    return report(folder, rows, time.perf_counter() - started)


def write_vectors(folder: Path, rows: int, width: int) -> None:
    """An `.npy` file of vectors and a model for them."""
    with (folder / "inputs.npy").open("wb") as file:
        write_npy_header(file, rows, width)
        for _, inputs, _ in blocks(rows, width):
            file.write(inputs.numpy().astype("<f4").data)
    config = create_tiny_config(input_embedding_dim=width, output_embedding_dim=width, **MODEL)
    save_model(create_processor(config), folder / "model")


def predict_twice(command: list[str], folder: Path, rows: int) -> str:
    """What the run in one go said; another run is killed twice, goes on, and must end with the same bits."""
    said = subprocess.run([*command, "--output", "whole.parquet"], check=True, stdout=subprocess.PIPE, text=True).stdout
    note = folder / ".cut.parquet.partial.json"
    for share in (1 / 3, 2 / 3):
        process = subprocess.Popen([*command, "--output", "cut.parquet"], stdout=subprocess.DEVNULL)
        while process.poll() is None and (not note.exists() or json.loads(note.read_text())["done"] < share * rows):
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit("the run ended before it could be killed; give more rows")
        process.kill()
        process.wait()
    subprocess.run([*command, "--output", "cut.parquet"], check=True, stdout=subprocess.DEVNULL)
    if sha256_of(folder / "cut.parquet") != sha256_of(folder / "whole.parquet"):
        raise SystemExit("the run that was killed twice ended with other bits")
    return said


def write_texts(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(json.dumps({"input": f"definition number {row}", "target": f"word{row // 2}"}) + "\n")


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the sets are written")
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=WHAT)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, folder = arguments.child[0], Path(arguments.child[1])
        if what == "predicting":
            print(json.dumps(predict(folder, arguments.output)))
        else:
            print(json.dumps(embed(folder, arguments.width) if what == "embedding" else train(folder)))
        return
    table = []
    for what in arguments.what:
        small = 0.0
        for rows in (SMALL, arguments.rows):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                folder = Path(name)
                if what == "embedding":
                    write_texts(folder / "pairs.jsonl", rows)
                elif what == "predicting":
                    write_vectors(folder, rows, arguments.width)
                else:
                    folder = folder / "set"
                    write_pair_folder(folder, rows, blocks(rows, arguments.width), {"name": "synthetic vectors"})
                command = [sys.executable, "-m", "benchmarks.speed.million_rows", "--child", what, str(folder)]
                command += ["--width", str(arguments.width)]
                if what == "predicting" and rows > SMALL:
                    said = predict_twice(command, folder, rows)
                else:
                    command += ["--output", "small.parquet"]
                    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(said.splitlines()[-1])
            small = small or found["peak"]
            table.append([what, rows, found["size"], found["peak"], found["peak"] - small, found["rate"]])
    title = f"Peak memory on {arguments.rows} rows of width {arguments.width}, beside {SMALL}"
    name = "million_rows" if len(arguments.what) == len(WHAT) else f"million_rows_{'_'.join(arguments.what)}"
    publish(arguments.results / f"{name}.json", title, COLUMNS, table, model=MODEL)


if __name__ == "__main__":
    main()
