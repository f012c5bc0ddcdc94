"""`energy-flow evaluate`: a model is judged on a split, or on published queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..config import Box
from ..data import PairData, PairSet, load_data, parts_of
from ..data.sources import SHIPPED
from ..data.wordnet import read_queries
from ..text import TextEncoder
from ..training import EnergyTrainer
from .report import load_trainer, print_picture, print_scores
from .rows import pairs_in_box

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED_MISS = 1000  # the rank of a word that is not found, in the published reverse-dictionary tables
DRAWN_ROWS = 200  # of a task, for --box
HUB_QUERIES = 10_000  # training inputs whose outputs tell which texts are hubs


@dataclass(frozen=True)
class Evaluate:
    """Judge a trained model on a split of a data set, beside the input itself."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best"""
    data: str = SHIPPED
    """shipped, a synthetic task, a folder, or a .safetensors file"""
    split: Literal["train", "validation", "test"] = "test"
    """which split"""
    queries: Path | None = None
    """judge by a published test set instead: a JSON list of objects with `word` and `definitions`, embedded with the
    data set's encoder and ranked among its bank; ranks beyond 1000 count as 1000 (needs the extra text)"""
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
        trainer = load_trainer(self.model, self.device)
        data = load_data(self.data, trainer.config.data_seed)
        box = None if self.box is None else Box.parse(self.box)
        if self.coast is not None:
            trainer.processor.config = trainer.config.replace(coast=self.coast)
        pairs, title = getattr(data, self.split), f"{self.split} split"
        if self.queries is not None:
            pairs, title = _embed_queries(self.queries, data), self.queries.name
        elif box is not None:
            pairs = pairs_in_box(box, data, self.split, self.rows or DRAWN_ROWS, trainer.config)
        miss = None if self.queries is None else PUBLISHED_MISS
        hubs = _hub_queries(trainer, data) if self.csls else None
        for part in parts_of(pairs):
            outputs = print_scores(trainer, data, part, f"{data.name}: {title}, {self.model}", miss, hubs, box)
            print_picture(data, part, outputs)


def _hub_queries(trainer: EnergyTrainer, data: PairData) -> Tensor:
    if data.bank is None:
        raise ValueError(f"--csls corrects ranks among texts, and {data.name} has none; leave it out")
    return trainer.predict(parts_of(data.train)[0].spaced(HUB_QUERIES).inputs)


def _embed_queries(path: Path, data: PairData) -> PairSet:
    queries = read_queries(path)
    if data.bank is None or data.encoders is None:
        raise ValueError(
            f"--queries looks words up in the set's bank, and {data.name} has no texts; give a set of texts"
        )
    definitions, words = [query.definition for query in queries], [query.word for query in queries]
    given, wanted = (TextEncoder(name) for name in data.encoders)
    return PairSet(given(definitions), wanted(words), definitions, words)
