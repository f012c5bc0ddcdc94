"""Tasks with a known answer, each with its own metric.

`identity` and `rotation` show that the path is intact; in `conditional-permutation` content decides the route;
`deep-teacher` is a hard non-linear map; in `sudoku-4` cells must exchange what they know; `digits` are small images.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..pair_folder import SPLIT_NAMES, write_pair_folder
from ..pairs import PairData, PairSet

SPLIT_SEEDS = {"train": 1, "validation": 2, "test": 3}
BLOCKS, BLOCK_WIDTH, PERMUTATIONS = 16, 4, 4
SUDOKU_CELLS, SUDOKU_DIGITS, SUDOKU_HELD_OUT, SUDOKU_CLUES = 16, 4, 58, (4, 8)
TEACHER_LAYERS, TEACHER_GAIN = 3, 1.5  # so that a linear map explains three quarters of the variance
DIGIT_CLASSES, DIGIT_TEST = 10, 180
MADE_HERE = "made by this package, free to use"

Sampler = Callable[[int, str, torch.Generator, torch.Generator], tuple[Tensor, Tensor]]
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Task:
    """A task: how rows are drawn and how outputs are judged.

    Attributes:
        what: input and target, in words.
        sample: (rows, split, generator of the fixed parts, generator of the rows) to inputs and targets; of a task
            with so many rows and no more, at most those.
        metric_name: what `metric` measures; larger is better.
        metric: (N, T) outputs and (N, T) targets to a number.
        settings: the fields of the configuration that the task needs otherwise than by default.
        licence: of the rows.
    """

    what: str
    sample: Sampler
    metric_name: str
    metric: Metric
    settings: Mapping[str, Any]
    licence: str = MADE_HERE


def make_task(name: str, train_rows: int, test_rows: int = 2000, seed: int = 0) -> PairData:
    """Draw the rows of a task.

    Args:
        name: a key of `TASKS`.
        train_rows: rows of the training split.
        test_rows: rows of the validation split, and of the test split.
        seed: of the fixed parts (rotation, permutations, held-out grids) and of the rows.

    Raises:
        ValueError: no such task.
    """
    if name not in TASKS:
        raise ValueError(f"task = {name!r}; give one of {', '.join(TASKS)}")

    def part(split: str, rows: int) -> PairSet:
        fixed = torch.Generator().manual_seed(seed)
        random = torch.Generator().manual_seed(1000 * seed + SPLIT_SEEDS[split])
        return PairSet(*TASKS[name].sample(rows, split, fixed, random))

    parts = (part("train", train_rows), part("validation", test_rows), part("test", test_rows))
    return PairData(name, *parts, task=name)


def build_task(name: str, folder: Path, train_rows: int, test_rows: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Write a task as a pair set; its card is part of the manifest.

    Args:
        name: a key of `TASKS`.
        folder: a new folder.
        train_rows: as in `make_task`, and so are the others.
        test_rows: see there.
        seed: see there.

    Returns:
        the manifest.
    """
    data = make_task(name, train_rows, test_rows, seed)
    parts = {split: getattr(data, split) for split in SPLIT_NAMES}

    def blocks() -> Iterator[tuple[str, Tensor, Tensor]]:
        for split, part in parts.items():
            yield split, part.inputs, part.targets

    card = {
        "name": name,
        "task": name,
        "what": TASKS[name].what,
        "metric": TASKS[name].metric_name,
        "licence": TASKS[name].licence,
        "made_by": f"energy-flow data build {name} --rows {train_rows} --held-out-rows {test_rows} --seed {seed}",
        "pairs_per_split": {split: len(part) for split, part in parts.items()},
    }
    return write_pair_folder(folder, sum(map(len, parts.values())), blocks(), card)


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Share of the targets' variance that the outputs explain, over all numbers together."""
    residual = (outputs - targets).double().square().sum()
    total = (targets - targets.mean(0)).double().square().sum()
    return float(1 - residual / total)


def exact_grids(outputs: Tensor, targets: Tensor) -> float:
    """Share of the grids in which every cell's largest output is the right digit."""
    groups = (-1, SUDOKU_CELLS, SUDOKU_DIGITS)
    right = outputs.view(groups).argmax(-1) == targets.view(groups).argmax(-1)
    return float(right.all(1).double().mean())


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of the rows in which the largest output is the right class."""
    return float((outputs.argmax(1) == targets.argmax(1)).double().mean())


def _identity(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(rows, BLOCKS * BLOCK_WIDTH, generator=random)
    return inputs, inputs


def _rotation(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    width = BLOCKS * BLOCK_WIDTH
    rotation = torch.linalg.qr(torch.randn(width, width, generator=fixed))[0]
    inputs = torch.randn(rows, width, generator=random)
    return inputs, inputs @ rotation


def _conditional_permutation(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The first block is one-hot and stays; it selects the permutation of the other fifteen."""
    orders = torch.stack([torch.randperm(BLOCKS - 1, generator=fixed) + 1 for _ in range(PERMUTATIONS)])
    orders = torch.cat((torch.zeros(PERMUTATIONS, 1, dtype=torch.long), orders), dim=1)
    choice = torch.randint(PERMUTATIONS, (rows,), generator=random)
    blocks = torch.randn(rows, BLOCKS, BLOCK_WIDTH, generator=random)
    blocks[:, 0] = torch.eye(PERMUTATIONS)[choice] * PERMUTATIONS**0.5  # RMS 1, as the other blocks
    permuted = blocks.gather(1, orders[choice].unsqueeze(2).expand(-1, -1, BLOCK_WIDTH))
    return blocks.flatten(1), permuted.flatten(1)


def _deep_teacher(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A fixed random network of tanh layers; a linear map reaches R2 = 0.75."""
    width = BLOCKS * BLOCK_WIDTH
    layers = [torch.randn(width, width, generator=fixed) * TEACHER_GAIN / width**0.5 for _ in range(TEACHER_LAYERS)]
    inputs = hidden = torch.randn(rows, width, generator=random)
    for layer in layers:
        hidden = torch.tanh(hidden @ layer)
    return inputs, hidden


def _digits(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """1 797 images of 8 x 8, from -1 (blank) to 1, as 4 x 4 patches of 2 x 2 pixels; the class is one-hot."""
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError("the task digits needs scikit-learn: pip install 'energy-flow[text]'")
    from sklearn.datasets import load_digits

    images, classes = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    patches = (images.float() / 8 - 1).view(-1, 4, 2, 4, 2).transpose(2, 3).flatten(1)
    order = torch.randperm(len(patches), generator=fixed)
    held_out = {"validation": order[:DIGIT_TEST], "test": order[DIGIT_TEST : 2 * DIGIT_TEST]}
    chosen = held_out.get(split, order[2 * DIGIT_TEST :])[:rows]
    return patches[chosen], torch.eye(DIGIT_CLASSES)[classes[chosen]]


def _sudoku(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Puzzles of 4 to 8 clues with one solution; 58 of the 288 grids are solved in validation and test only."""
    grids = sudoku_grids()
    shuffled = torch.randperm(len(grids), generator=fixed)
    pool = shuffled[SUDOKU_HELD_OUT:] if split == "train" else shuffled[:SUDOKU_HELD_OUT]
    puzzles, solutions = [], []
    drawn = 0
    while drawn < rows:
        solution = grids[pool[torch.randint(len(pool), (2048,), generator=random)]]
        clue_count = torch.randint(SUDOKU_CLUES[0], SUDOKU_CLUES[1] + 1, (2048, 1), generator=random)
        shown = torch.rand(2048, SUDOKU_CELLS, generator=random).argsort(1).argsort(1) < clue_count
        unique = _count_solutions(solution, shown, grids) == 1
        puzzles.append((solution * shown)[unique])  # 0 is a blank
        solutions.append(solution[unique])
        drawn += int(unique.sum())
    puzzle, solution = torch.cat(puzzles)[:rows], torch.cat(solutions)[:rows]
    inputs = torch.eye(SUDOKU_DIGITS + 1)[puzzle].flatten(1)
    return inputs, torch.eye(SUDOKU_DIGITS)[solution - 1].flatten(1)


def _count_solutions(solution: Tensor, shown: Tensor, grids: Tensor) -> Tensor:
    """(N,) how many of all grids agree with the shown cells of each solution."""
    clues = torch.eye(SUDOKU_DIGITS + 1)[solution] * shown.unsqueeze(2)
    agreeing = clues.flatten(1) @ torch.eye(SUDOKU_DIGITS + 1)[grids].flatten(1).T
    return (agreeing == shown.sum(1, keepdim=True)).sum(1)


@lru_cache(maxsize=1)
def sudoku_grids() -> Tensor:
    """(288, 16) int64: every valid 4 x 4 sudoku, digits 1 to 4, row by row."""
    rows = list(itertools.permutations(range(1, SUDOKU_DIGITS + 1)))
    valid = [
        top + second + third + last
        for top, second, third, last in itertools.product(rows, repeat=4)
        if _columns_differ(top, second, third, last) and _boxes_differ(top, second) and _boxes_differ(third, last)
    ]
    return torch.tensor(valid)


def _columns_differ(*rows: tuple[int, ...]) -> bool:
    return all(len(set(column)) == SUDOKU_DIGITS for column in zip(*rows, strict=True))


def _boxes_differ(upper: tuple[int, ...], lower: tuple[int, ...]) -> bool:
    return all(len({*upper[start : start + 2], *lower[start : start + 2]}) == SUDOKU_DIGITS for start in (0, 2))


_REGRESSION = {"mapping": "mixed", "loss_mse": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
_CLASSES = {"mapping": "local", "loss_cross_entropy": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
TASKS: dict[str, Task] = {
    "identity": Task("random vectors of width 64; themselves", _identity, "R2", r_squared, _REGRESSION),
    "rotation": Task("random vectors of width 64; the same, rotated", _rotation, "R2", r_squared, _REGRESSION),
    "conditional-permutation": Task(
        "16 blocks of 4 numbers; the same blocks in one of 4 orders, which the first block selects",
        _conditional_permutation,
        "R2",
        r_squared,
        _REGRESSION,
    ),
    "deep-teacher": Task(
        "random vectors of width 64; what a fixed random network of 3 tanh layers makes of them",
        _deep_teacher,
        "R2",
        r_squared,
        _REGRESSION,
    ),
    "sudoku-4": Task(
        "puzzles of 4 x 4 with 4 to 8 clues and one solution, one-hot per cell; the solution, one-hot per cell",
        _sudoku,
        "exact grids",
        exact_grids,
        _CLASSES | {"target_classes": SUDOKU_DIGITS},
    ),
    "digits": Task(
        "images of handwritten digits, 8 x 8 pixels in 4 x 4 patches; the digit, one-hot",
        _digits,
        "accuracy",
        accuracy,
        _CLASSES | {"target_classes": DIGIT_CLASSES},
        "UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), CC BY 4.0; from scikit-learn",
    ),
}
