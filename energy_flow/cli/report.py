"""What several commands print: scores beside the input itself, and decoded examples."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Box
from ..data import TASKS, PairData, PairSet
from ..data.tasks.pictures import DRAWN, fullest_row
from ..text import NearestTexts
from ..training import EnergyTrainer, Judge, load_model
from ..training.batches import box_of
from ..training.metrics import HIT_NOTHING
from ..training.retrieval import Retrieval, can_rank, retrieval_figures, retrieval_intervals
from ..utils import DeviceManager
from ..utils.console import PlainConsole, printable
from ..viz import examples_table, metrics_table
from .found_models import model_folder
from .row_map import LatticeMap, RowMap, require_width

if TYPE_CHECKING:
    from torch import Tensor

RANKED_ROWS = 20_000  # at most, of a split without texts
WORDNET = Path("/usr/share/wordnet")
console = PlainConsole(soft_wrap=sys.stdout is None or not sys.stdout.isatty())


def load_trainer(folder: Path, device: str) -> EnergyTrainer:
    """A trainer of the model in a folder, or of the package's model of this name, to predict and judge with."""
    processor = load_model(model_folder(folder))
    return EnergyTrainer(processor, processor.config, devices=DeviceManager(device, processor.config.precision))


def print_scores(
    trained: RowMap,
    data: PairData,
    pairs: PairSet,
    title: str,
    miss: int | None = None,
    hubs: Tensor | None = None,
    box: Box | None = None,
) -> Tensor:
    """Print the figures of a model on some pairs, beside those of the inputs themselves.

    Args:
        trained: the model.
        data: whose bank the ranks are among.
        pairs: what is judged.
        title: of the table.
        miss: the rank of a text that is not in the bank, and the worst; None is an error and no bound.
        hubs: (N, E out) outputs by which hubs are held back when the model's are ranked.
        box: the lattice to run in; by default that of the pairs' face, or else the model's own.

    Returns:
        (N, E out) the outputs of the model.
    """
    inputs, targets = pairs.inputs[:], pairs.targets[:]
    if isinstance(trained, LatticeMap) and pairs.face is not None:
        box = box_of(pairs.face, trained.trainer.config) if box is None else box
        title = f"{title}, in a box of {box or trained.trainer.config.box}"
    require_width("inputs", inputs.shape[1], trained, box)
    systems = {trained.name: trained(inputs, box)}
    judges = {trained.name: Judge(data.bank, hubs, miss)}
    if inputs.shape == targets.shape:
        systems = {"input itself": inputs} | systems
        judges["input itself"] = Judge(data.bank, None, miss)
    rows = {name: judges[name].measure(outputs, pairs).to_dict() for name, outputs in systems.items()}
    if data.task is not None:
        for name, outputs in systems.items():
            rows[name][TASKS[data.task].metric_name] = TASKS[data.task].score(inputs, outputs, targets, pairs.face)
    intervals = {name: judges[name].confidence_intervals(outputs, pairs) for name, outputs in systems.items()}
    among = _rank_among_targets(data, pairs, systems, rows, intervals)
    console.print(metrics_table(title, rows, intervals))
    console.print(f"{len(pairs)} rows; in brackets the 95 % interval, bootstrap over the rows")
    if data.bank is not None:
        beyond = "" if miss is None else f"; a rank of {miss} or more counts as {miss}"
        by = "" if hubs is None else f"; the {trained.name}'s by CSLS"
        console.print(f"ranks are 0-based, among {len(data.bank.texts)} candidate texts{beyond}{by}")
    if among:
        console.print(f"recall and nDCG are among {among} different targets; ties count against the right one")
    for name, figures in rows.items():
        if "no_direction" in figures:
            console.print(
                f"{name}: {round(figures['no_direction'] * len(pairs))} of {len(pairs)} outputs {HIT_NOTHING}"
            )
    return systems[trained.name]


def _rank_among_targets(
    data: PairData,
    pairs: PairSet,
    systems: Mapping[str, Tensor],
    rows: Mapping[str, dict[str, float]],
    intervals: Mapping[str, dict[str, tuple[float, float]]],
) -> int:
    """Add recall and nDCG among the targets to the figures of each system, where a set has neither texts nor a task.

    Returns:
        how many different targets there are to choose from; 0 where nothing was ranked.
    """
    if data.bank is not None or data.task is not None:
        return 0
    chosen = pairs.spaced_rows(RANKED_ROWS)
    targets = pairs.targets.index_select(0, chosen)
    if not can_rank(targets):
        return 0
    retrieval = Retrieval(targets)
    for name, outputs in systems.items():
        ranks = retrieval.ranks(outputs[chosen])
        rows[name].update(retrieval_figures(ranks))
        intervals[name].update(retrieval_intervals(ranks))
    return len(retrieval)


def print_picture(data: PairData, pairs: PairSet, outputs: Tensor, row: int | None = None) -> None:
    """Draw a row with what the model made of it, where the task can draw.

    Args:
        data: whose task draws.
        pairs: of one face.
        outputs: (N, E out) of the model.
        row: which; by default the one with the most to mark, such as the longest path.
    """
    draw = None if data.task is None else TASKS[data.task].draw
    if draw is not None and pairs.face is not None:
        row = fullest_row(pairs.targets[:], pairs.face) if row is None else row
        console.print(draw(pairs.inputs[row : row + 1][0], outputs[row], pairs.face, not _can_show(DRAWN)))


def _can_show(characters: str) -> bool:
    return printable(characters, console.encoding) == characters


def print_decoded(data: PairData, pairs: PairSet, outputs: Tensor, top: int = 5) -> None:
    """Print the nearest texts of (N, E out) outputs for some pairs, where the data has texts."""
    if data.bank is None or not pairs.input_texts:
        return
    found = [[match.text for match in row] for row in NearestTexts(data.bank.texts, data.bank.embeddings)(outputs, top)]
    rows = list(zip(pairs.input_texts, pairs.target_texts, found, strict=True))
    console.print(examples_table(f"{len(pairs)} test examples, decoded", rows))
