"""Is embedding a set as fast as the encoder alone, and what do smaller numbers on the disk cost?

Definitions, the words they define and a bank of those words, as in a reverse dictionary: most words stand there twice
or more. `data embed` reads them from a file and writes a set; beside it `SentenceTransformer.encode` gets the same
texts in three calls, and then every different text only once, all sorted together: the least work there is. Turns
alternate, and processor seconds are taken, since other work on the machine delays one or the other. For the second
table the words of the shipped set are written as float16 and as int8, and the ten nearest of every test definition are
compared with those in float32.

    python -m benchmarks.text.embedding [--pairs 600] [--repeats 3] [--model FOLDER]
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from benchmarks.common import parser_for, publish, spread
from energy_flow.data import load_shipped
from energy_flow.data.embedding import EmbedJob
from energy_flow.data.pairs import one_size
from energy_flow.data.stored_rows import CHUNK, open_npy
from energy_flow.data.storing import DTYPES, write_matrix
from energy_flow.data.text_rows import PairRows
from energy_flow.text import NearestTexts, TextEncoder
from energy_flow.text.encoder_settings import OFFLINE_MODEL
from energy_flow.text.encoders.sentence_model import TRANSFORMER_BATCH

COLUMNS = ("what", "texts", "different", "processor seconds", "min-max", "times as long as data embed")
STORES = ("store", "MiB on the disk", "largest difference of a number", "recall@10 of float32's")
NEAREST = 10


def write_pairs(folder: Path, count: int) -> tuple[list[str], list[str], list[str]]:
    """The files of a set; definitions, words, and the bank of the words."""
    train = one_size("shipped", load_shipped().train)
    definitions, words = list(train.input_texts[:count]), list(train.target_texts[:count])
    bank = list(dict.fromkeys(words))
    rows = ({"input": given, "target": wanted} for given, wanted in zip(definitions, words, strict=True))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "bank.txt").write_text("".join(f"{word}\n" for word in bank), encoding="utf-8")
    return definitions, words, bank


def embed(folder: Path, encoder: TextEncoder) -> None:
    shutil.rmtree(folder / "set", ignore_errors=True)
    rows = PairRows(folder / "pairs.jsonl", "input", "target")
    EmbedJob(rows, folder / "set", encoder, encoder, folder / "bank.txt").run()


def timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def speed(folder: Path, model: str, sides: tuple[list[str], ...], repeats: int) -> list[list[object]]:
    encoder = TextEncoder(model)
    encoder.prepare()
    plain = encoder.backend.model  # type: ignore[attr-defined]
    assert isinstance(plain, SentenceTransformer)
    once = list(dict.fromkeys(text for side in sides for text in side))

    def encode(texts: list[str]) -> None:
        plain.encode(texts, batch_size=TRANSFORMER_BATCH, normalize_embeddings=True, show_progress_bar=False)

    ways: dict[str, Callable[[], object]] = {
        "data embed": lambda: embed(folder, encoder),
        "encode, three calls": lambda: [encode(side) for side in sides],
        "encode, each different text once": lambda: encode(once),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            seconds[name].append(timed(work))
    asked, own = sum(map(len, sides)), spread(seconds["data embed"])["median"]
    rows = []
    for name, found in seconds.items():
        times = spread(found)
        given = len(once) if "once" in name else asked
        between = f"{times['min']:.1f}-{times['max']:.1f}"
        rows.append([name, given, len(once), times["median"], between, times["median"] / own])
    return rows


def stores(folder: Path) -> list[list[object]]:
    data = load_shipped()
    assert data.bank is not None
    exact, texts = data.bank.embeddings[:], data.bank.texts
    queries = one_size(data.name, data.test).inputs[:]
    numbers, path = exact.numpy(), folder / "bank.npy"
    rows, nearest = [], []
    for store in DTYPES:
        write_matrix(path, lambda: chunks_of_rows(numbers), len(numbers), numbers.shape[1], store)
        found = open_npy(path)[:]
        matches = NearestTexts(texts, found)(queries, NEAREST)
        nearest.append([{match.text for match in one} for one in matches])
        hits = sum(len(own & whole) for own, whole in zip(nearest[-1], nearest[0], strict=True))
        size = path.stat().st_size / 2**20
        rows.append([store, size, float((found - exact).abs().max()), hits / (NEAREST * len(queries))])
    return rows


def chunks_of_rows(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default=OFFLINE_MODEL, help="sentence-transformers folder or name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sides = write_pairs(folder, arguments.pairs)
        rows = speed(folder, arguments.model, sides, arguments.repeats)
        title = f"{arguments.pairs} definitions, their words, and the bank of {len(sides[2])} words; {arguments.model}"
        publish(arguments.results / "embedding.json", title, COLUMNS, rows)
        words = f"Numbers on the disk: the {NEAREST} nearest of the shipped words for the shipped test definitions"
        publish(arguments.results / "embedding_store.json", words, STORES, stores(folder))


if __name__ == "__main__":
    main()
