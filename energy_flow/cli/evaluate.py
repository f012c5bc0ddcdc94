"""`energy-flow evaluate`: a model is judged on a split, or on published queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..config import Box, EnergyConfig
from ..data import PairData, PairSet, load_data, parts_of
from ..data.bank_words import BankWords
from ..data.wordnet import read_queries
from ..text import encoders_of
from .decoding import hub_queries
from .found_models import data_of, model_folder
from .report import console, load_trainer, print_picture, print_scores
from .row_map import LatticeMap, StoredLinearMap
from .rows import pairs_in_box, pairs_of_split

PUBLISHED_MISS = 1000  # the rank of a word that is not found, in the published reverse-dictionary tables
DRAWN_ROWS = 200  # of a task, for --box
SHOWN_MISSING = 5


@dataclass(frozen=True)
class Evaluate:
    """Judge a trained model on a split of a data set, beside the input itself."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best, a name that `energy-flow list` shows, or a linear map that train-linear
    wrote"""
    data: str | None = None
    """shipped, a synthetic task, a folder, or a .safetensors file; by default what a model of the package was trained
    on, and for others shipped"""
    split: str = "test"
    """train, validation, test, or one that a task has beside them, such as few-clues of sudoku-6"""
    queries: Path | None = None
    """judge by a published test set instead: a JSON list of objects with `word` and `definitions`, embedded with the
    data set's encoder and ranked among its bank; ranks beyond 1000, and words that the bank does not have, count as
    1000 (needs the extra text)"""
    box: str | None = None
    """width, height and depth of another lattice to run the weights in, such as 33x33x400; of a task, rows of this size
    are drawn"""
    rows: int | None = None
    """rows of a task that are drawn for --box; by default 200"""
    coast: float | None = None
    """let flows go ahead without work while nothing around them changes by more than this; by default as the model has
    it"""
    csls: bool = False
    """hold hubs back when ranking (CSLS, measured on outputs for training inputs)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Print the table."""
        if self.rows is not None and (self.box is None or self.rows < 1):
            raise ValueError(f"--rows {self.rows}; give at least 1, with the --box that rows are drawn for")
        trained = self._trained()
        config = trained.trainer.config if isinstance(trained, LatticeMap) else EnergyConfig()
        data = load_data(data_of(self.model, self.data), config.data_seed)
        box = None if self.box is None else Box.parse(self.box)
        pairs, title = pairs_of_split(data, self.split, config), f"{self.split} split"
        if self.queries is not None:
            pairs, title = _embed_queries(self.queries, data), self.queries.name
        elif box is not None:
            pairs = pairs_in_box(box, data, self.split, self.rows or DRAWN_ROWS, config)
        miss = None if self.queries is None else PUBLISHED_MISS
        hubs = hub_queries(trained, data) if self.csls else None
        for part in parts_of(pairs):
            outputs = print_scores(trained, data, part, f"{data.name}: {title}, {self.model}", miss, hubs, box)
            print_picture(data, part, outputs)

    def _trained(self) -> LatticeMap | StoredLinearMap:
        """The model, or the linear map where a file is given.

        Raises:
            ValueError: an option that a linear map has no use for.
        """
        if not self.model.is_file():
            trained = LatticeMap(model_folder(self.model), load_trainer(self.model, self.device))
            if self.coast is not None:
                trained.trainer.processor.config = trained.trainer.config.replace(coast=self.coast)
            return trained
        if self.box is not None or self.coast is not None:
            raise ValueError(f"{self.model} is a linear map, which has no lattice; leave --box and --coast out")
        return StoredLinearMap(self.model)


def _embed_queries(path: Path, data: PairData) -> PairSet:
    queries = read_queries(path, lower=False)
    encoders = encoders_of(data)
    if data.bank is None or encoders is None:
        raise ValueError(
            f"--queries looks words up in the set's bank, and {data.name} has no texts; give a set of texts"
        )
    bank_words = BankWords(data.bank.texts)
    found = [bank_words.find(query.word) for query in queries]
    missing = [query.word for query, text in zip(queries, found, strict=True) if text is None]
    first = f", such as {', '.join(map(repr, missing[:SHOWN_MISSING]))}" if missing else ""
    console.print(
        f"{len(missing)} of {len(queries)} asked words are not in the bank{first}; each of them ranks {PUBLISHED_MISS}"
    )
    definitions = [query.definition for query in queries]
    words = [text or query.word for query, text in zip(queries, found, strict=True)]
    given, wanted = encoders
    return PairSet(given(definitions), wanted(words), definitions, words)
