"""Sudoku of 6 x 6, in boxes of two rows and three columns: cells must exchange what they know across the face.

Shapes: `N` puzzles, 36 cells each, numbered row by row; `G` = 39 168 grids whose first row is 1 to 6; `E` = 252 input
width (7 a cell: blank or a digit), `T` = 216 target width (6 a cell).
"""

from __future__ import annotations

import itertools
from functools import lru_cache, partial

import torch
from torch import Tensor

from ..pairs import Size
from .judging import CELL_CLASSES, class_of_cells, whole_rows
from .pictures import sudoku_text
from .task import MADE_HERE, Task

DIGITS, CELLS, BOX_ROWS, BOX_COLUMNS = 6, 36, 2, 3
CLUES, FEW_CLUES, FEW = (18, 26), (10, 14), "few-clues"
HELD_OUT = 5  # of 49 classes, in validation; as many more in test
CHUNK = 4096  # partial grids at a time
ALL_DIGITS = (1 << DIGITS) - 1  # a set of digits: bit d stands for digit d + 1


def sample_sudoku_6(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw (N, E) puzzles with one solution, (N, T): 18 to 26 clues, and 10 to 14 in the split `few-clues`.

    Grids are of one class if relabelled digits, and rows, columns, bands and stacks in another order, turn one into the
    other. There are 49 classes: 5 are in validation only, 5 in test and `few-clues` only, and the rest in training. A
    grid of a split is any of its grids with equal probability; clues are taken away in random order as long as the
    solution stays the only one, down to a number that is drawn evenly. Some do not get down to 10 or 11, and keep as
    many as they need. On one core 1 000 puzzles take a quarter of a second, and `few-clues` a second.
    """
    grids = reduced_grids()[_pool(split, fixed)]
    fewest, most = FEW_CLUES if split == FEW else CLUES
    puzzles, solutions = [], []
    while len(puzzles) < rows:
        solution = _relabelled(grids[int(torch.randint(len(grids), (1,), generator=random))], random)
        wanted = int(torch.randint(fewest, most + 1, (1,), generator=random))
        puzzle = _dig(solution, torch.randperm(CELLS, generator=random).tolist(), wanted)
        if sum(digit > 0 for digit in puzzle) <= most:
            puzzles.append(puzzle)
            solutions.append(solution)
    inputs = torch.eye(DIGITS + 1)[torch.tensor(puzzles)].flatten(1)
    return inputs, torch.eye(DIGITS)[torch.tensor(solutions) - 1].flatten(1)


def count_solutions(puzzle: list[int], limit: int = 2) -> int:
    """How many grids agree with a puzzle, at most `limit`.

    Args:
        puzzle: 36 digits, 0 is a blank; what is given may contradict itself.
        limit: where to stop counting.
    """
    used = [0] * UNIT_COUNT
    for cell, digit in enumerate(puzzle):
        bit = 1 << digit >> 1  # none for a blank
        if bit & ~_free(used, cell):
            return 0
        _toggle(used, cell, bit)
    return _count([cell for cell, digit in enumerate(puzzle) if not digit], used, limit)


@lru_cache(maxsize=1)
def reduced_grids() -> Tensor:
    """Every grid whose first row is 1 to 6: (G, 36) int64, digits 1 to 6, row by row.

    The other 719 in 720 of all 28 200 960 grids are relabellings of these.
    """
    rows = torch.tensor(list(itertools.permutations(range(DIGITS))))  # (720, 6)
    columns = (1 << (DIGITS * torch.arange(DIGITS) + rows)).sum(1)  # bit 6 c + d: digit d + 1 stands in column c
    boxes = (1 << (DIGITS * (torch.arange(DIGITS) // BOX_COLUMNS) + rows)).sum(1)  # likewise, of the two boxes
    grids = torch.zeros(1, 1, dtype=torch.long)  # (partial grids, rows so far), by the numbers of the rows
    for row in range(1, DIGITS):
        grids = torch.cat([_with_a_row(some, columns, boxes, row % BOX_ROWS > 0) for some in grids.split(CHUNK)])
    return rows[grids].flatten(1) + 1


@lru_cache(maxsize=1)
def grid_classes() -> Tensor:
    """(G,) int64: the symmetry class of every reduced grid, 0 to 48.

    Two grids are joined where a generator of the group turns one into the other; a class is what hangs together.
    """
    grids = reduced_grids()
    keys, place = _keys(grids).sort()
    turned = [place[torch.searchsorted(keys, _keys(_reduce(grids[:, order])))] for order in _generators()]
    label, before = torch.arange(len(grids)), None
    while before is None or not torch.equal(label, before):
        before = label
        for image in turned:
            label = label.scatter_reduce(0, image, label, "amin")
            label = torch.minimum(label, label[image])
    return label.unique(return_inverse=True)[1]


def _with_a_row(grids: Tensor, columns: Tensor, boxes: Tensor, in_same_boxes: bool) -> Tensor:
    """Every way to add a row to partial grids, (partial grids, rows so far); the rows of a box must differ too."""
    clashes = columns[grids].sum(1).unsqueeze(1) & columns
    if in_same_boxes:
        clashes |= boxes[grids[:, -1]].unsqueeze(1) & boxes
    grid, row = (clashes == 0).nonzero(as_tuple=True)
    return torch.cat((grids[grid], row.unsqueeze(1)), dim=1)


def _keys(grids: Tensor) -> Tensor:
    """(G,) int64: a number for every reduced grid; its second to fifth row say all, with 6**24 < 2**63."""
    told = grids[:, DIGITS : CELLS - DIGITS] - 1
    return (told * DIGITS ** torch.arange(told.shape[1])).sum(1)


def _pool(split: str, fixed: torch.Generator) -> Tensor:
    """The numbers of the reduced grids that a split may draw."""
    classes = grid_classes()
    shuffled = torch.randperm(int(classes.max()) + 1, generator=fixed)
    test, validation, train = shuffled[:HELD_OUT], shuffled[HELD_OUT : 2 * HELD_OUT], shuffled[2 * HELD_OUT :]
    chosen = {"train": train, "validation": validation}.get(split, test)
    return torch.isin(classes, chosen).nonzero().flatten()


def _relabelled(grid: Tensor, random: torch.Generator) -> list[int]:
    """A grid with its digits exchanged at random."""
    return (torch.randperm(DIGITS, generator=random) + 1)[grid - 1].tolist()


def _dig(solution: list[int], order: list[int], wanted: int) -> list[int]:
    """Take clues away in this order, as long as the solution stays the only one and more are left than are wanted.

    A clue may go unless a grid with another digit in its cell agrees with what is left.
    """
    used, blanks = [ALL_DIGITS] * UNIT_COUNT, []
    for cell in order:
        if len(blanks) == CELLS - wanted:
            break
        bit = 1 << solution[cell] >> 1
        _toggle(used, cell, bit)
        others = _free(used, cell) & ~bit
        if _count_with(cell, others, blanks, used, limit=1):
            _toggle(used, cell, bit)
        else:
            blanks.append(cell)
    hidden = set(blanks)
    return [0 if cell in hidden else digit for cell, digit in enumerate(solution)]


def _count(blanks: list[int], used: list[int], limit: int) -> int:
    """Solutions of what is left, at most `limit`; always the cell with the fewest candidates is filled next.

    Args:
        blanks: the cells that are left.
        used: the digits that stand in each row, column and box; the same again afterwards.
        limit: where to stop counting.
    """
    if not blanks:
        return 1
    chosen, candidates, fewest = -1, 0, DIGITS + 1
    for cell in blanks:
        free = _free(used, cell)
        if free.bit_count() < fewest:
            chosen, candidates, fewest = cell, free, free.bit_count()
            if fewest < 2:
                break
    return _count_with(chosen, candidates, [cell for cell in blanks if cell != chosen], used, limit)


def _count_with(cell: int, candidates: int, blanks: list[int], used: list[int], limit: int) -> int:
    """Solutions with one of the candidates in a cell, and the rest as in `_count`."""
    found = 0
    while candidates and found < limit:
        bit = candidates & -candidates
        candidates ^= bit
        _toggle(used, cell, bit)
        found += _count(blanks, used, limit - found)
        _toggle(used, cell, bit)
    return found


def _free(used: list[int], cell: int) -> int:
    """The set of digits that neither the row, nor the column, nor the box of a cell has."""
    row, column, box = UNITS[cell]
    return ALL_DIGITS & ~(used[row] | used[column] | used[box])


def _toggle(used: list[int], cell: int, bit: int) -> None:
    """Put a digit into a cell, or take it out."""
    row, column, box = UNITS[cell]
    used[row] ^= bit
    used[column] ^= bit
    used[box] ^= bit


def _reduce(grids: Tensor) -> Tensor:
    """(G, 36): the same grids with the digits exchanged so that the first row is 1 to 6."""
    label = torch.empty(len(grids), DIGITS, dtype=torch.long)
    label.scatter_(1, grids[:, :DIGITS] - 1, torch.arange(1, DIGITS + 1).expand(len(grids), -1))
    return label.gather(1, grids - 1)


def _generators() -> list[Tensor]:
    """(36,) each: the exchanges of neighbours that generate all orders of rows, columns, bands and stacks."""
    cells = torch.arange(CELLS).view(DIGITS, DIGITS)
    orders = []
    for size, dim in ((BOX_ROWS, 0), (BOX_COLUMNS, 1)):
        lines = torch.arange(DIGITS)
        blocks = lines.view(-1, size)
        orders += [(dim, _exchanged(lines, one, one + 1)) for one in range(DIGITS - 1) if (one + 1) % size]
        orders += [(dim, _exchanged(blocks, one, one + 1).flatten()) for one in range(len(blocks) - 1)]
    return [cells.index_select(dim, order).flatten() for dim, order in orders]


def _exchanged(items: Tensor, one: int, other: int) -> Tensor:
    changed = items.clone()
    changed[[one, other]] = items[[other, one]]
    return changed


def _units(cell: int) -> tuple[int, int, int]:
    """The row, the column and the box of a cell, among 18 units."""
    row, column = divmod(cell, DIGITS)
    box = row // BOX_ROWS * (DIGITS // BOX_COLUMNS) + column // BOX_COLUMNS
    return row, DIGITS + column, 2 * DIGITS + box


def empty_cells(inputs: Tensor, targets: Tensor) -> Tensor:
    """(N, E) inputs and their targets to (N,) int64: the cells without a clue."""
    return (class_of_cells(inputs, DIGITS + 1) == 0).sum(1)


def draw_sudoku(inputs: Tensor, outputs: Tensor, face: Size, plain: bool = False) -> str:
    """The picture of one puzzle, (E,), and the digits that the output (T,) chooses."""
    clues, answer = class_of_cells(inputs.unsqueeze(0), DIGITS + 1)[0], class_of_cells(outputs.unsqueeze(0), DIGITS)[0]
    return sudoku_text(clues, answer + 1, (BOX_COLUMNS, BOX_ROWS), plain)


UNIT_COUNT = 3 * DIGITS
UNITS = tuple(_units(cell) for cell in range(CELLS))

SUDOKU_6 = Task(
    "puzzles of 6 x 6 with 18 to 26 clues (10 to 14 in few-clues) and one solution, one-hot per cell; the solution,"
    " one-hot per cell; validation and test are of symmetry classes that training has not",
    sample_sudoku_6,
    "exact grids",
    partial(whole_rows, classes=DIGITS),
    CELL_CLASSES | {"target_classes": DIGITS},
    licence=MADE_HERE,
    face=(DIGITS, DIGITS),
    extra_splits=(FEW,),
    draw=draw_sudoku,
    difficulty=empty_cells,
)
