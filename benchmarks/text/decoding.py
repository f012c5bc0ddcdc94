"""How long does decoding take, and is it what brute force finds? 10 000 queries against 83 118 words.

The check is NumPy in float64 over the whole bank; scores that agree in nine decimals are ties, and go by the order of
the bank. By default bank and queries are random unit vectors; a folder of `energy-flow data embed` gives real ones.

    python -m benchmarks.text.decoding [--data FOLDER] [--texts 83118] [--queries 10000] [--repeats 3]
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import parser_for, publish, spread
from energy_flow.data.pair_folder import load_pair_folder
from energy_flow.data.pairs import one_size
from energy_flow.text import ApproximateTexts, NearestTexts
from energy_flow.text.nearest_rows import DECIMALS

COLUMNS = ("decoder", "seconds", "min-max", "preparing s", "rows that differ from brute force", "recall@10")
COUNT = 10
BLOCK = 500


def brute_force(bank: Tensor, queries: Tensor) -> np.ndarray:
    """(N, COUNT) places, by float64 cosine over the whole bank."""
    directions, rows = (matrix.double().numpy() for matrix in (bank, queries))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for start in range(0, len(rows), BLOCK):
        scores = (rows[start : start + BLOCK] @ directions.T).round(DECIMALS)
        least = np.partition(scores, -COUNT, axis=1)[:, -COUNT]
        for row, bound in zip(scores, least, strict=True):
            likely = np.flatnonzero(row >= bound)
            found.append(likely[np.argsort(-row[likely], kind="stable")[:COUNT]])
    return np.stack(found)


def load(folder: Path | None, texts: int, queries: int) -> tuple[Tensor, Tensor]:
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(texts + queries, 384, generator=generator)
        return rows[:texts], rows[texts:]
    data = load_pair_folder(folder)
    if data.bank is None:
        raise SystemExit(f"{folder} has no bank of texts; give a set of texts")
    return data.bank.embeddings[:], one_size(data.name, data.train).inputs[:queries]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--data", type=Path, help="pair set with texts")
    parser.add_argument("--texts", type=int, default=83_118)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faiss", action="store_true", help="the approximate index too (extra faiss)")
    arguments = parser.parse_args()
    bank, queries = load(arguments.data, arguments.texts, arguments.queries)
    names = [str(place) for place in range(len(bank))]
    right = brute_force(bank, queries)
    rows = []
    for decoder in (NearestTexts, ApproximateTexts) if arguments.faiss else (NearestTexts,):
        started = time.perf_counter()
        nearest = decoder(names, bank)
        preparing, seconds, found = time.perf_counter() - started, [], []
        for _ in range(arguments.repeats):
            started = time.perf_counter()
            found = nearest(queries, COUNT)
            seconds.append(time.perf_counter() - started)
        places = [[int(match.text) for match in matches] for matches in found]
        differ = sum(one != row.tolist() for one, row in zip(places, right, strict=True))
        hits = sum(len(set(one) & set(row.tolist())) for one, row in zip(places, right, strict=True))
        times = spread(seconds)
        between = f"{times['min']:.2f}-{times['max']:.2f}"
        rows.append([decoder.__name__, times["median"], between, preparing, differ, hits / right.size])
    source = "random vectors" if arguments.data is None else arguments.data.name
    title = f"{len(queries)} queries, the {COUNT} nearest of {len(bank)} texts, width {bank.shape[1]}, {source}"
    publish(arguments.results / "decoding.json", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
