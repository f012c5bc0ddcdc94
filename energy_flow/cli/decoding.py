"""How the outputs of a model become texts. Shapes: `N` outputs, `T` their width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ..data import PairData, TextBank, parts_of
from ..text import ApproximateTexts, Match, NearestTexts, TextGenerator
from ..utils import DeviceManager
from .row_map import RowMap

HUB_QUERIES = 10_000  # training inputs whose outputs tell which texts are hubs
NO_DIRECTION = "nothing is near: the output is zero or not finite"


Decode = Callable[[Tensor], list[str]]  # (N, T) outputs to a line of text each


def by_search(bank: TextBank, top: int, hubs: Tensor | None = None) -> Decode:
    """The nearest texts of a bank, by CSLS where hubs are given."""
    nearest = NearestTexts(bank.texts, bank.embeddings, hubs)
    return lambda outputs: [_line(matches) for matches in nearest(outputs, top)]


def by_index(bank: TextBank, top: int) -> Decode:
    """Near texts of a large bank."""
    near = ApproximateTexts(bank.texts, bank.embeddings)
    return lambda outputs: [_line(matches) for matches in near(outputs, top)]


def by_writing(folder: Path, device: str) -> Decode:
    """Texts that a decoder of `train-decoder` writes."""
    return TextGenerator.load(folder).to(DeviceManager(device).device).generate


def hub_queries(row_map: RowMap, data: PairData) -> Tensor:
    """Outputs for training inputs, which tell which texts are hubs.

    Raises:
        ValueError: the set has no texts.
    """
    if data.bank is None:
        raise ValueError(f"--csls corrects ranks among texts, and {data.name} has none; leave it out")
    return row_map(parts_of(data.train)[0].spaced(HUB_QUERIES).inputs[:])


def _line(matches: list[Match]) -> str:
    return ", ".join(f"{match.text} ({match.score:.3f})" for match in matches) if matches else NO_DIRECTION
