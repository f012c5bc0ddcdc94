"""How good a reverse dictionary is it, beside the published ones? Hill's unseen words among all words of WordNet.

All pairs of definition and word train, but those of the queries' words and of 1 000 validation words drawn at random:
in the protocol `word` every definition of these words leaves, in `synset` every definition that they share with a
synonym leaves too. Systems train with the in-batch contrastive loss; rates are chosen on the validation words. Ranks
are 0-based, 1000 at most, among all candidates; intervals are 95 %, bootstrap over the queries.

Two target spaces: the word's own vector; and a space learned for this task, in which a word is a linear map of its
vector and of the mean definition of its nearest training words (weighted by a softmax of the cosine; the word's own
definitions never count, and under `synset` neither do its synonyms'), trained together with a linear map of the
definitions (two towers). Each is scored by the cosine, and with hubs held back (CSLS). The best row is the one of least
median rank on the validation words.

Quote the protocol `synset` where the space is learned: of Hill's 500 definitions 306 are shared with a synonym, and
under `word` they may be part of the targets.

    energy-flow data build wordnet WORDS
    energy-flow data embed WORDS/pairs.jsonl SET --candidates WORDS/candidates.jsonl
    python -m benchmarks.learning.reverse_dictionary --data SET --queries hill_unseen_500.json [--quick]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import fingerprint, parser_for, publish, write_tables
from benchmarks.learning.rivals import ResidualMLP, identity_linear
from benchmarks.learning.training import predict, train
from energy_flow.config import EnergyConfig, create_tiny_config
from energy_flow.core import create_processor
from energy_flow.data import PairSet, TextBank
from energy_flow.data.pair_folder import load_pair_folder
from energy_flow.data.wordnet import read_queries
from energy_flow.text import encoders_of
from energy_flow.training import EnergyTrainer, Judge
from energy_flow.training.schedule import learning_rate_factor
from energy_flow.utils import batch_slices, epoch_order

VALIDATION_WORDS = 1000
NEIGHBOURS, NEIGHBOUR_TEMPERATURE = 24, 0.1
HUB_QUERIES = 10_000
MISS = 1000
MLP_HIDDEN = 2048
RATES = {"linear": (5e-4, 1e-3, 2e-3), "residual MLP": (5e-4, 1e-3), "lattice": (1e-3,)}
EPOCHS = {"linear": 6, "residual MLP": 6, "lattice": 2}
FIGURES = ("median_rank", "acc_1", "acc_10", "acc_100", "rank_std", "synonym_acc_1", "centred_cosine")
COLUMNS = ("protocol", "target space", "system", "ranked by", "rate", "validation", *FIGURES, "seconds")


@dataclass(frozen=True)
class Corpus:
    """All pairs, and the words that are looked for."""

    pairs: PairSet
    bank: TextBank
    word_of: Tensor  # (N,) place in the bank
    validation: PairSet
    test: PairSet

    def training_rows(self, protocol: str) -> Tensor:
        """The rows that a protocol leaves."""
        places = {text: place for place, text in enumerate(self.bank.texts)}
        held_out = {places[text] for part in (self.validation, self.test) for text in part.target_texts}
        theirs = torch.isin(self.word_of, torch.tensor(sorted(held_out)))
        if protocol == "synset":
            glosses = {self.pairs.input_texts[row] for row in theirs.nonzero().flatten().tolist()}
            theirs |= torch.tensor([text in glosses for text in self.pairs.input_texts])
        return (~theirs).nonzero().flatten()


def load_corpus(folder: Path, queries_file: Path) -> Corpus:
    data = load_pair_folder(folder, in_memory=2**34)
    if data.bank is None or data.encoders is None:
        raise SystemExit(f"{folder} holds no texts; build it as the head of this file says")
    parts = (data.train, data.validation, data.test)
    inputs, targets = (torch.cat([getattr(part, name)[:] for part in parts]) for name in ("inputs", "targets"))
    input_texts, target_texts = (
        [text for part in parts for text in getattr(part, name)] for name in ("input_texts", "target_texts")
    )
    pairs = PairSet(inputs, targets, input_texts, target_texts)
    places = {text: place for place, text in enumerate(data.bank.texts)}
    word_of = torch.tensor([places[text] for text in target_texts])

    queries = read_queries(queries_file)
    definitions, words = [query.definition for query in queries], [query.word for query in queries]
    rows = data.bank.embeddings.index_select(0, torch.tensor([places[word] for word in words]))
    encoders = encoders_of(data)
    assert encoders is not None  # as is said above
    test = PairSet(encoders[0](definitions), rows, definitions, words)

    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(data.bank.texts), generator=generator).tolist()
    chosen = [place for place in drawn if data.bank.texts[place] not in set(words)][:VALIDATION_WORDS]
    first: dict[int, int] = {}
    for row in torch.randperm(len(pairs), generator=generator).tolist():
        first.setdefault(int(word_of[row]), row)
    validation = pairs.subset(torch.tensor([first[place] for place in chosen]))
    return Corpus(pairs, data.bank, word_of, validation, test)


def neighbour_definitions(bank: TextBank, inputs: Tensor, word_of: Tensor, synonyms_too: bool) -> Tensor:
    """(V, E) for every word: the mean definition of its nearest training words, never its own."""
    directions = F.normalize(bank.embeddings[:], dim=1)
    count = torch.zeros(len(directions)).index_add_(0, word_of, torch.ones(len(word_of)))
    means = torch.zeros_like(directions).index_add_(0, word_of, F.normalize(inputs, dim=1))
    means /= count.clamp(min=1)[:, None]
    found = []
    for start in range(0, len(directions), 2048):
        rows = directions[start : start + 2048]
        similar = (rows @ directions.T).masked_fill(count == 0, -1.0)
        similar[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = -1.0
        cosine, place = similar.topk(2 * NEIGHBOURS, dim=1)
        if not synonyms_too:
            cosine[shares_group(bank, range(start, start + len(rows)), place)] = -1.0
        cosine, order = cosine.topk(NEIGHBOURS, dim=1)
        weight = torch.softmax(cosine / NEIGHBOUR_TEMPERATURE, dim=1)
        found.append((weight[:, :, None] * means[place.gather(1, order)]).sum(1))
    return torch.cat(found)


def shares_group(bank: TextBank, words: range, others: Tensor) -> Tensor:
    """(len(words), K) bool: whether the word and each of its K others are synonyms."""
    groups = bank.groups
    return torch.tensor(
        [
            [not groups[word].isdisjoint(groups[other]) for other in row]
            for word, row in zip(words, others.tolist(), strict=True)
        ]
    )


def learned_space(corpus: Corpus, rows: Tensor, synonyms_too: bool, config: EnergyConfig, epochs: int) -> Tensor:
    """(V, E) every word in the space of the two towers."""
    bank, inputs, word_of = corpus.bank.embeddings[:], corpus.pairs.inputs[:][rows], corpus.word_of[rows]
    near = neighbour_definitions(corpus.bank, inputs, word_of, synonyms_too)
    words = torch.cat((F.normalize(bank, dim=1), F.normalize(near, dim=1)), dim=1)
    given, wanted = identity_linear(bank.shape[1], bank.shape[1]), nn.Linear(words.shape[1], bank.shape[1])
    with torch.no_grad():
        wanted.weight.copy_(torch.cat((torch.eye(bank.shape[1]), 0.5 * torch.eye(bank.shape[1])), dim=1))
        wanted.bias.zero_()
    optimizer = torch.optim.AdamW([*given.parameters(), *wanted.parameters()], weight_decay=0.0)
    batches = list(batch_slices(len(rows), config.batch_size))
    for epoch in range(1, epochs + 1):
        order = epoch_order(len(rows), config.seed, epoch)
        for number, batch in enumerate(batches):
            factor = learning_rate_factor((epoch - 1) * len(batches) + number, epochs * len(batches), config)
            optimizer.param_groups[0]["lr"] = 1e-3 * factor
            word = word_of[order[batch]]
            towers = F.normalize(given(inputs[order[batch]]), dim=1), F.normalize(wanted(words[word]), dim=1)
            twins = (word[:, None] == word[None]).fill_diagonal_(False)
            logits = (towers[0] @ towers[1].T / config.contrastive_temperature).masked_fill(twins, -torch.inf)
            labels = torch.arange(len(word))
            loss = F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return F.normalize(wanted(words), dim=1)


class Fitted(NamedTuple):
    """A trained system."""

    map_rows: Callable[[Tensor], Tensor]
    rate: float
    seconds: float


def fit(system: str, pairs: PairSet, config: EnergyConfig, epochs: int) -> Callable[[Tensor], Tensor]:
    """Train a system; what comes back maps definitions to targets."""
    if system == "lattice":
        trainer = EnergyTrainer(create_processor(config), config)
        trainer.train(pairs.inputs[:], pairs.targets[:], epochs)
        return trainer.predict
    width = pairs.inputs.shape[1]
    torch.manual_seed(config.seed)
    model = identity_linear(width, width) if system == "linear" else ResidualMLP(width, width, MLP_HIDDEN, blocks=0)
    train(model, pairs, config, epochs)
    return lambda rows: predict(model, rows)


@dataclass(frozen=True, eq=False)
class Space:
    """A target space under a protocol: what trains, what is looked for, and among which words."""

    protocol: str
    name: str
    bank: TextBank
    train: PairSet
    validation: PairSet
    test: PairSet

    def judge(self, map_rows: Callable[[Tensor], Tensor]) -> list[tuple[str, float, list[str]]]:
        """For each way of ranking: its name, the validation's median rank, and the test's figures with intervals."""
        validation, test = (map_rows(part.inputs[:]) for part in (self.validation, self.test))
        hub_queries = map_rows(self.train.spaced(HUB_QUERIES).inputs[:])
        found = []
        for name, judge in (("cosine", Judge(self.bank, miss=MISS)), ("CSLS", Judge(self.bank, hub_queries, MISS))):
            figures = judge.measure(test, self.test).to_dict()
            bounds = judge.confidence_intervals(test, self.test)
            cells = [
                f"{figures[one]:.3g} ({bounds[one][0]:.3g} to {bounds[one][1]:.3g})" if one in figures else "-"
                for one in FIGURES
            ]
            found.append((name, median_rank(judge, validation, self.validation), cells))
        return found


def median_rank(judge: Judge, outputs: Tensor, pairs: PairSet) -> float:
    rank = judge.measure(outputs, pairs).median_rank
    assert rank is not None  # there is a bank
    return rank


def spaces_of(corpus: Corpus, protocol: str, config: EnergyConfig, epochs: int) -> Iterator[Space]:
    rows = corpus.training_rows(protocol)
    learned = learned_space(corpus, rows, protocol == "word", config, epochs)
    places = {text: place for place, text in enumerate(corpus.bank.texts)}
    for name, words in (("word", corpus.bank.embeddings[:]), ("learned", learned)):
        looked_for = [
            PairSet(part.inputs, words[[places[text] for text in part.target_texts]], (), part.target_texts)
            for part in (corpus.validation, corpus.test)
        ]
        bank = TextBank(corpus.bank.texts, words, corpus.bank.groups)
        train_pairs = PairSet(corpus.pairs.inputs[:][rows], words[corpus.word_of[rows]])
        yield Space(protocol, name, bank, train_pairs, *looked_for)


def fit_best(system: str, space: Space, rates: Sequence[float], config: EnergyConfig, epochs: int) -> Fitted:
    """Train at every rate; the one of least median rank on the validation words."""
    judge, tried = Judge(space.bank, miss=MISS), []
    for rate in rates:
        started = time.perf_counter()
        map_rows = fit(system, space.train, config.replace(learning_rate=rate), epochs)
        seconds = time.perf_counter() - started
        rank = median_rank(judge, map_rows(space.validation.inputs[:]), space.validation)
        tried.append((rank, Fitted(map_rows, rate, seconds)))
    return min(tried, key=lambda one: one[0])[1]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="set of all pairs, with candidates")
    parser.add_argument("--queries", type=Path, required=True, help="JSON list of objects with word and definitions")
    parser.add_argument("--protocols", nargs="+", default=["word", "synset"], choices=("word", "synset"))
    parser.add_argument("--quick", action="store_true", help="one epoch for every system, no lattice")
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.data, arguments.queries)
    config = create_tiny_config(batch_size=512, loss_cosine=0.0, loss_contrastive=1.0)
    epochs = dict.fromkeys(("linear", "residual MLP"), 1) if arguments.quick else EPOCHS
    rates: dict[str, tuple[float, ...]] = dict(RATES)
    table: list[list[Any]] = []

    def add(space: Space, system: str, fitted: Fitted) -> None:
        for ranked_by, validation, cells in space.judge(fitted.map_rows):
            row = [space.protocol, space.name, system, ranked_by, fitted.rate, validation, *cells]
            table.append([*row, round(fitted.seconds, 1)])
            print(table[-1], flush=True)

    for protocol in arguments.protocols:
        for space in spaces_of(corpus, protocol, config, max(epochs.values())):
            if space.name == "word":
                add(space, "input itself", Fitted(lambda rows: rows, 0.0, 0.0))
            for system, passes in epochs.items():
                fitted = fit_best(system, space, rates[system], config, passes)
                rates[system] = (fitted.rate,)  # chosen once, on the first protocol and space
                add(space, system, fitted)
    for protocol in arguments.protocols:
        best = min((row for row in table if row[0] == protocol), key=lambda row: row[5])
        print(f"best on the validation words, protocol {protocol}: {', '.join(map(str, best[1:]))}")
    trained = {protocol: len(corpus.training_rows(protocol)) for protocol in arguments.protocols}
    title = (
        f"{arguments.queries.stem}: {len(corpus.test)} queries among {len(corpus.bank.texts)} words; "
        f"{len(corpus.validation)} validation words; training pairs: {trained}"
    )
    path = arguments.results / f"reverse_dictionary{'_quick' if arguments.quick else ''}.json"
    publish(path, title, COLUMNS, table, configuration=config.to_dict(), epochs=epochs)
    write_tables(path, title, COLUMNS, table, seed=config.seed, configuration=fingerprint(config))


if __name__ == "__main__":
    main()
