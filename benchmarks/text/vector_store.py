"""What does a vector store lose when it is translated to another encoder's space, and not embedded again?

The documents are shipped definitions. A tenth of them is embedded with both encoders, and a map is learned on these
pairs; the others are translated. The queries are 2 000 words, embedded with the new encoder. Figures: recall@10
(the share of a word's definitions that are among its ten nearest documents), how much of the recall of embedding again
is kept, and how many of the ten nearest are the same. Intervals are a bootstrap over the queries.

    pip install 'energy-flow[text,encoders]'
    python -m benchmarks.text.vector_store [--moves 0 1] [--documents 12000] [--systems ridge]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from benchmarks.common import parser_for, publish, write_tables
from benchmarks.learning.rivals import ResidualMLP
from benchmarks.learning.training import predict, train
from benchmarks.text.encoders import DriftedMiniLM, MiniLM, ParaphraseMiniLM, WordLlama
from energy_flow.config import EnergyConfig, create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairSet, load_shipped
from energy_flow.data.pairs import one_size
from energy_flow.text import NearestRows
from energy_flow.training import EnergyTrainer
from energy_flow.training.linear_map import fit_orthogonal, fit_ridge

NEAREST = 10
TENTH = 10  # one document in so many is embedded again
VALIDATION = 0.1  # of these pairs, by which a penalty is chosen
QUERIES = 2000
HIDDEN, MLP_EPOCHS, MLP_RATES = 512, 10, (1e-5, 1e-4, 1e-3)
LATTICE_EPOCHS, LATTICE_RATE = 10, 4e-3
RESAMPLES = 1000
REPEATS, TIMED = 3, 1024  # times of a map, on so many rows
PAIRS = (250, 500, 1000, 2000, 5000, 10_000)  # of a linear map, in the second table
SYSTEMS = ("as it is", "orthogonal", "ridge", "residual MLP", "lattice")
COLUMNS = (
    *("from", "to", "system", "recall@10", "kept %", "95 %", "same of the ten nearest"),
    *("us a vector", "again us a vector", "KiB", "seconds to learn"),
)
CURVE = ("from", "to", "pairs", "kept %", "95 %")
MAPS = Callable[[Tensor], Tensor]


class Texts(NamedTuple):
    """What is stored and what is asked."""

    documents: list[str]
    queries: list[str]
    right: list[set[int]]  # of each query the documents that it looks for


class Encoded(NamedTuple):
    """The same in the space of an encoder."""

    documents: Tensor
    queries: Tensor
    seconds: float  # of a document


@dataclass(frozen=True)
class Learned:
    """A map, what it took and how large it is."""

    apply: MAPS
    seconds: float
    parameters: int


def texts_of(count: int) -> tuple[Texts, PairSet]:
    """Documents and queries; and the pairs of definition and word that an encoder trains on further."""
    data = load_shipped()
    train_pairs, test = one_size(data.name, data.train), one_size(data.name, data.test)
    pairs = [
        pair
        for part in (test, one_size(data.name, data.validation), train_pairs)
        for pair in zip(part.input_texts, part.target_texts, strict=True)
    ][:count]
    places: dict[str, set[int]] = {}
    for place, (_, word) in enumerate(pairs):
        places.setdefault(word, set()).add(place)
    words = list(places)[:QUERIES]
    return Texts([text for text, _ in pairs], words, [places[word] for word in words]), train_pairs


def encode(encoder: Any, texts: Texts) -> Encoded:
    encoder(texts.documents[:64])
    started = time.perf_counter()
    documents = encoder(texts.documents)
    seconds = (time.perf_counter() - started) / len(documents)
    return Encoded(documents, encoder(texts.queries), seconds)


def learn(system: str, train_pairs: PairSet, validation: PairSet) -> Learned:
    """Learn a map on pairs of vectors."""
    started = time.perf_counter()
    width_in, width_out = train_pairs.inputs.shape[1], train_pairs.targets.shape[1]
    config = create_tiny_config(
        **{"input_embedding_dim": width_in, "output_embedding_dim": width_out, "loss_contrastive": 0.0},
        **{"loss_cosine": 1.0, "learning_rate": LATTICE_RATE, "batch_size": 64},
    )
    if system == "as it is":
        return Learned(lambda rows: rows, 0.0, 0)
    if system in ("ridge", "orthogonal"):
        found = fit_ridge(train_pairs, validation) if system == "ridge" else fit_orthogonal(train_pairs)
        return Learned(found, time.perf_counter() - started, found.weight.numel() + found.bias.numel())
    if system == "lattice":
        processor = create_processor(config)
        trainer = EnergyTrainer(processor, config)
        trainer.train(train_pairs.inputs[:], train_pairs.targets[:], LATTICE_EPOCHS)
        return Learned(trainer.predict, time.perf_counter() - started, parameters_of(processor))
    candidates = [fit_mlp(train_pairs, validation, config.replace(learning_rate=rate)) for rate in MLP_RATES]
    model = min(candidates, key=lambda one: float(mse_loss(predict(one, validation.inputs[:]), validation.targets[:])))
    return Learned(lambda rows: predict(model, rows), time.perf_counter() - started, parameters_of(model))


def fit_mlp(train_pairs: PairSet, validation: PairSet, config: EnergyConfig) -> ResidualMLP:
    """A residual MLP that begins as the ridge map."""
    torch.manual_seed(0)
    model = ResidualMLP(config.input_embedding_dim, config.output_embedding_dim, HIDDEN)
    start = fit_ridge(train_pairs, validation)
    assert model.skip is not None
    with torch.no_grad():
        model.skip.weight.copy_(start.weight.T)
        model.skip.bias.copy_(start.bias)
        model.leave.weight.zero_()
        model.leave.bias.zero_()
    train(model, train_pairs, config, MLP_EPOCHS)
    return model


def parameters_of(model: torch.nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def found_by(store: Tensor, queries: Tensor) -> Tensor:
    """(queries, 10) places of the nearest documents."""
    return NearestRows(store).top(queries, NEAREST)[1]


def recalls(found: Tensor, right: Sequence[set[int]]) -> Tensor:
    """Of each query the share of its documents that were found."""
    return torch.tensor(
        [len(wanted & set(row)) / len(wanted) for row, wanted in zip(found.tolist(), right, strict=True)]
    )


def kept_interval(translated: Tensor, again: Tensor) -> tuple[float, float]:
    """95 % of the ratio of the means, over resampled queries."""
    random = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(RESAMPLES):
        rows = torch.randint(len(again), (len(again),), generator=random)
        drawn.append(float(translated[rows].mean() / again[rows].mean()))
    low, high = torch.tensor(drawn).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def seconds_of(apply: MAPS, rows: Tensor) -> float:
    """Of one vector of some, the least of several times."""
    rows, times = rows[:TIMED], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        apply(rows)
        times.append(time.perf_counter() - started)
    return min(times) / len(rows)


def judge(old: Encoded, new: Encoded, names: tuple[str, str], systems: Sequence[str], texts: Texts) -> list[list[Any]]:
    """One row for each system, after that of embedding again."""
    order = torch.randperm(len(texts.documents), generator=torch.Generator().manual_seed(0))
    tenth, rest = order[: len(order) // TENTH], order[len(order) // TENTH :].sort().values
    place = {document: number for number, document in enumerate(rest.tolist())}
    asked = [row for row, right in enumerate(texts.right) if right & place.keys()]
    right = [{place[document] for document in texts.right[row] if document in place} for row in asked]
    queries = new.queries[asked]
    again = found_by(new.documents[rest], queries)
    base = recalls(again, right)
    cut = round(len(tenth) * VALIDATION)
    validation, train_pairs = (PairSet(old.documents[rows], new.documents[rows]) for rows in (tenth[:cut], tenth[cut:]))
    again_us = new.seconds * 1e6
    table: list[list[Any]] = [
        [*names, "embedded again", float(base.mean()), 100.0, "", 1.0, again_us, again_us, "", ""]
    ]
    for system in systems:
        if system == "as it is" and old.documents.shape[1] != new.documents.shape[1]:
            continue
        learned = learn(system, train_pairs, validation)
        found = found_by(learned.apply(old.documents[rest]), queries)
        translated = recalls(found, right)
        low, high = kept_interval(translated, base)
        same = sum(len(set(one) & set(two)) for one, two in zip(found.tolist(), again.tolist(), strict=True))
        table.append(
            [
                *(*names, system, float(translated.mean()), 100 * float(translated.mean() / base.mean())),
                *(f"{100 * low:.1f}-{100 * high:.1f}", same / again.numel()),
                *(1e6 * seconds_of(learned.apply, old.documents[rest]), again_us),
                *(learned.parameters * 4 / 1024, learned.seconds),
            ]
        )
        print(table[-1], flush=True)
    return table


def pairs_needed(old: Encoded, new: Encoded, names: tuple[str, str], texts: Texts) -> list[list[Any]]:
    """How much a ridge map keeps that is learned on so many pairs; the documents are always the other half."""
    half = len(texts.documents) // 2
    order = torch.randperm(len(texts.documents), generator=torch.Generator().manual_seed(0))
    rest = order[half:].sort().values
    place = {document: number for number, document in enumerate(rest.tolist())}
    asked = [row for row, right in enumerate(texts.right) if right & place.keys()]
    right = [{place[document] for document in texts.right[row] if document in place} for row in asked]
    again = found_by(new.documents[rest], new.queries[asked])
    base, table = recalls(again, right), []
    for count in (count for count in PAIRS if count <= half):
        cut = round(count * VALIDATION)
        validation, train_pairs = (
            PairSet(old.documents[rows], new.documents[rows]) for rows in (order[:cut], order[cut:count])
        )
        found = found_by(fit_ridge(train_pairs, validation)(old.documents[rest]), new.queries[asked])
        low, high = kept_interval(recalls(found, right), base)
        kept = 100 * float(recalls(found, right).mean() / base.mean())
        table.append([*names, count, kept, f"{100 * low:.1f}-{100 * high:.1f}"])
    return table


def main() -> None:
    started = time.perf_counter()
    parser = parser_for(__doc__)
    parser.add_argument("--documents", type=int, default=12_000)
    parser.add_argument("--moves", type=int, nargs="+", default=list(range(6)), help="both ways between two encoders")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    arguments = parser.parse_args()
    texts, pairs = texts_of(arguments.documents)
    makers = {"MiniLM": MiniLM, "paraphrase": ParaphraseMiniLM, "WordLlama": WordLlama}
    makers |= {"drifted": lambda: DriftedMiniLM(pairs)}
    moves = [way for other in list(makers)[1:] for way in (("MiniLM", other), (other, "MiniLM"))]
    encoded: dict[str, Encoded] = {}
    labels: dict[str, str] = {}
    table: list[list[Any]] = []
    curve: list[list[Any]] = []
    for number in arguments.moves:
        for name in moves[number]:
            if name not in encoded:
                encoder = makers[name]()
                if isinstance(encoder, DriftedMiniLM):
                    encoder.prepare()
                encoded[name], labels[name] = encode(encoder, texts), encoder.name
                print(f"embedded with {encoder.name}: {1e6 * encoded[name].seconds:.0f} us a document", flush=True)
        old, new = moves[number]
        names = labels[old], labels[new]
        curve += pairs_needed(encoded[old], encoded[new], names, texts)
        table += judge(encoded[old], encoded[new], names, arguments.systems, texts)
    seconds, processor = round(time.perf_counter() - started), round(time.process_time())
    title = (
        f"{len(texts.documents)} documents, {len(texts.documents) // TENTH} of them with both vectors, "
        f"{len(texts.queries)} queries; {seconds} s in all, {processor} processor seconds"
    )
    path = arguments.results / "vector_store.json"
    publish(path, title, COLUMNS, table, seconds=seconds, processor_seconds=processor)
    write_tables(path, title, COLUMNS, table)
    title = f"Kept % of recall@10 by pairs, ridge, {len(texts.documents) - len(texts.documents) // 2} other documents"
    path = arguments.results / "vector_store_pairs.json"
    publish(path, title, CURVE, curve)
    write_tables(path, title, CURVE, curve)


if __name__ == "__main__":
    main()
