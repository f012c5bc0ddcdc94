"""Tasks on a grid of cells: what is drawn is what the card says, checked by other methods than those that drew it."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from energy_flow.cli.rows import pairs_in_box
from energy_flow.config import Box, create_grid_config
from energy_flow.data import (
    TASKS,
    PairData,
    PairSet,
    SizedPairs,
    Sizes,
    Task,
    build_task,
    load_data,
    make_split,
    make_task,
    parts_of,
)
from energy_flow.data.pair_folder import write_data_folder
from energy_flow.data.sources import data_settings
from energy_flow.data.tasks import (
    class_of_cells,
    delivery_sites,
    flood_text,
    maze_text,
    r_squared,
    shortest_paths,
    sudoku_6,
)
from energy_flow.data.tasks.chain_s5 import MOVES
from energy_flow.data.tasks.pictures import DRAWN
from energy_flow.data.tasks.sudoku_6 import count_solutions, grid_classes, reduced_grids

SIZED = ("maze", "flood", "delivery", "chain-parity", "chain-s5")
NEW = (*SIZED, "sudoku-6")
OPPOSITE = {0: 2, 1: 3, 2: 0, 3: 1}


def mazes(face, rows=50, **options):
    """Cells (N, rows, columns, 6) and the marks (N, rows, columns) of the path."""
    pairs = make_split("maze", "train", rows, seed=3, faces=[face], options=options)
    columns, height = face
    return (
        pairs.inputs.view(rows, height, columns, 6).int(),
        class_of_cells(pairs.targets, 2).view(rows, height, columns),
        pairs,
    )


def links(cells):
    """(S, S) bool: which cells of one maze (rows, columns, 6) are open to each other, both ways or not."""
    height, columns, _ = cells.shape
    open_to = torch.zeros(height * columns, height * columns, dtype=torch.bool)
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    for row, column, way in itertools.product(range(height), range(columns), range(4)):
        if cells[row, column, way]:
            down, right = steps[way]
            assert 0 <= row + down < height and 0 <= column + right < columns, "an opening leads out of the maze"
            open_to[row * columns + column, (row + down) * columns + column + right] = True
    return open_to


@pytest.mark.parametrize("face", [(2, 1), (3, 3), (6, 6), (7, 4)])
def test_every_maze_is_perfect(face) -> None:
    cells, _, _ = mazes(face, rows=30)
    count = face[0] * face[1]
    for maze in cells:
        open_to = links(maze)
        assert torch.equal(open_to, open_to.T)
        assert int(open_to.sum()) == 2 * (count - 1)
        assert (torch.linalg.matrix_power(open_to.double() + torch.eye(count), count) > 0).all(), "a part is cut off"
        assert maze[..., 4].sum() == maze[..., 5].sum() == 1
        assert not (maze[..., 4] & maze[..., 5]).any()


def searches(trail: tuple[int, ...], seen: frozenset[int], opened: frozenset[frozenset[int]]):
    """The walls between 3 x 3 cells that a depth-first search opens, for all choices that it can make."""
    if not trail:
        yield opened
        return
    here = trail[-1]
    beside = [cell for cell in range(9) if abs(cell // 3 - here // 3) + abs(cell % 3 - here % 3) == 1]
    onward = [cell for cell in beside if cell not in seen]
    for cell in onward:
        yield from searches((*trail, cell), seen | {cell}, opened | {frozenset((here, cell))})
    if not onward:
        yield from searches(trail[:-1], seen, opened)


def test_mazes_are_all_that_a_depth_first_search_can_make_with_any_start_and_goal() -> None:
    cells, _, _ = mazes((3, 3), rows=2000)
    ends = {(int(maze[..., 4].argmax()), int(maze[..., 5].argmax())) for maze in cells}
    assert len(ends) == 9 * 8
    shapes = cells[..., :4].flatten(1).unique(dim=0).view(-1, 3, 3, 4)
    drawn = {frozenset(frozenset(pair) for pair in links(maze).nonzero().tolist()) for maze in shapes}
    possible = {tree for start in range(9) for tree in searches((start,), frozenset({start}), frozenset())}
    assert drawn == possible


@pytest.mark.parametrize("face", [(3, 3), (6, 6), (7, 4)])
def test_the_path_of_a_perfect_maze_is_what_is_left_when_dead_ends_are_filled(face) -> None:
    cells, marks, _ = mazes(face)
    for maze, path in zip(cells, marks, strict=True):
        open_to, ends = links(maze), maze[..., 4:].amax(-1).flatten().bool()
        alive = torch.ones(len(open_to), dtype=torch.bool)
        for _ in range(len(alive)):
            alive &= ends | ((open_to & alive).sum(1) > 1)
        assert torch.equal(path.flatten().bool(), alive)


@pytest.mark.parametrize("loops", [0.3, 1.0])
def test_with_loops_the_path_is_a_shortest_one(loops: float) -> None:
    cells, marks, pairs = mazes((5, 4), loops=loops)
    for maze, path in zip(cells, marks, strict=True):
        open_to = links(maze)
        assert torch.equal(open_to, open_to.T)
        start, goal = int(maze[..., 4].argmax()), int(maze[..., 5].argmax())
        walks, steps = torch.eye(20, dtype=torch.double), 0
        while not walks[start, goal]:
            walks, steps = walks @ open_to.double(), steps + 1
        assert int(path.sum()) == steps + 1
    assert shortest_paths(pairs.inputs, pairs.targets, pairs.targets, (5, 4)) == 1.0
    ways = cells[..., :4].sum((1, 2, 3)).double() / 2
    expected = 19 + loops * (4 * 4 + 5 * 3 - 19)  # openings of a perfect maze, and a share of the walls that it left
    assert float(ways.mean()) == pytest.approx(expected, abs=0.7)
    assert loops < 1 or (ways == 31).all()


def open_room(size: int, start: int, goal: int) -> torch.Tensor:
    """One maze (1, E) without an inner wall."""
    cells = torch.zeros(size, size, 6)
    cells[:, :-1, 0] = cells[:-1, :, 1] = cells[:, 1:, 2] = cells[1:, :, 3] = 1
    cells = cells.view(-1, 6)
    cells[start, 4] = cells[goal, 5] = 1
    return cells.view(1, -1)


@pytest.mark.parametrize(
    ("marked", "right"),
    [
        ([0, 1, 2, 5, 8], True),
        ([0, 3, 6, 7, 8], True),
        ([0, 3, 4, 5, 8], True),
        ([0, 1, 2, 4, 5, 8], False),  # one too many
        ([0, 1, 2, 5], False),  # the goal is missing
        ([1, 2, 5, 8], False),  # the start is missing
        ([0, 1, 2, 7, 8], False),  # as many as the path has, but broken
        ([0, 8], False),
        ([], False),
        (range(9), False),
    ],
)
def test_any_shortest_path_is_right_and_nothing_else(marked, right: bool) -> None:
    outputs = torch.zeros(1, 9, 2)
    outputs[..., 0] = 0.1
    outputs[0, list(marked), 1] = 1.0
    task, room = TASKS["maze"], open_room(3, 0, 8)
    targets = torch.zeros(1, 18)
    assert task.score(room, outputs.flatten(1), targets, (3, 3)) == float(right)


def test_a_path_does_not_go_through_walls() -> None:
    room = open_room(3, 0, 2).view(9, 6)
    room[0, 0] = room[1, 2] = 0  # a wall on the straight way 0, 1, 2: all shortest paths have five cells
    straight, around = [1, 1, 1, 0, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 0, 0, 0, 0]
    outputs = torch.eye(2)[torch.tensor([straight, around])].flatten(1)
    assert shortest_paths(room.view(1, -1).expand(2, -1), outputs, outputs, (3, 3)) == 0.5


def test_a_score_without_a_face_asks_for_the_target_itself() -> None:
    task, room = TASKS["maze"], open_room(3, 0, 8)
    one, other = (
        torch.eye(2)[torch.tensor(path)].view(1, -1)
        for path in ([1, 1, 1, 0, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0, 1, 1, 1])
    )
    assert task.score(room, other, one) == task.metric(other, one) == 0.0
    assert task.score(room, other, one, (3, 3)) == task.score(room, one, one) == 1.0


def test_on_perfect_mazes_both_scores_agree() -> None:
    _, _, pairs = mazes((4, 4), rows=200)
    outputs = pairs.targets.clone().view(-1, 2)
    outputs[::97] = outputs[::97].flip(1)
    outputs = outputs.view(200, -1)
    share = TASKS["maze"].metric(outputs, pairs.targets)
    assert 0.5 < share < 1
    assert TASKS["maze"].score(pairs.inputs, outputs, pairs.targets, pairs.face) == share


def test_a_flood_is_what_repeated_dilation_reaches() -> None:
    pairs = make_split("flood", "test", 200, faces=[(9, 7)])
    kinds = class_of_cells(pairs.inputs, 3).view(-1, 1, 7, 9)
    free, reached = (kinds != 1).float(), (kinds == 2).float()
    assert (reached.sum((1, 2, 3)) == 1).all()
    assert float((kinds == 1).float().mean()) == pytest.approx(0.35, abs=0.02)
    plus = torch.tensor([[[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]]])
    for _ in range(63):
        reached = ((torch.nn.functional.conv2d(reached, plus, padding=1) > 0) & (free > 0)).float()
    assert torch.equal(class_of_cells(pairs.targets, 2).view_as(reached), reached.long())
    assert 0.2 < float(reached.mean()) < 0.6


def test_a_flood_without_a_free_cell_is_its_source() -> None:
    pairs = make_split("flood", "test", 50, faces=[(3, 2)], options={"blocked": 1.0})
    reached = class_of_cells(pairs.targets, 2)
    assert torch.equal(reached, (class_of_cells(pairs.inputs, 3) == 2).long())
    assert (reached.sum(1) == 1).all()


def sudokus(split: str, rows: int):
    pairs = make_split("sudoku-6", split, rows)
    return class_of_cells(pairs.inputs, 7), class_of_cells(pairs.targets, 6) + 1


def completions(puzzle: torch.Tensor) -> int:
    """All grids that agree with a puzzle: of each reduced grid the relabellings that fit its clues."""
    shown = puzzle > 0
    pairs = torch.einsum(
        "gcr,cp->grp",
        torch.eye(6)[reduced_grids()[:, shown] - 1],
        torch.eye(6)[puzzle[shown] - 1],
    )
    together = pairs > 0  # (G, digit of the reduced grid, digit of the puzzle)
    fits = (together.sum(1) <= 1).all(1) & (together.sum(2) <= 1).all(1)
    return int(fits.sum()) * math.factorial(6 - len(puzzle[shown].unique()))


@pytest.mark.parametrize(("split", "fewest", "most"), [("train", 18, 26), ("test", 18, 26), ("few-clues", 10, 14)])
def test_sudokus_are_valid_and_have_one_solution(split: str, fewest: int, most: int) -> None:
    puzzles, solutions = sudokus(split, 200)
    boxes = solutions.view(-1, 3, 2, 2, 3).transpose(2, 3).reshape(-1, 6, 6)
    for groups in (solutions.view(-1, 6, 6), solutions.view(-1, 6, 6).transpose(1, 2), boxes):
        assert torch.equal(groups.sort(-1).values, torch.arange(1, 7).expand_as(groups))
    assert ((puzzles == solutions) | (puzzles == 0)).all()
    clues = (puzzles > 0).sum(1)
    assert fewest <= int(clues.min()) and int(clues.max()) == most
    assert len(clues.unique()) >= 4
    for puzzle in puzzles[:6]:
        assert completions(puzzle) == 1


def test_a_puzzle_that_keeps_too_many_clues_is_not_taken(monkeypatch) -> None:
    monkeypatch.setattr(sudoku_6, "FEW_CLUES", (8, 10))  # most puzzles do not get down to that
    puzzles, _ = sudokus("few-clues", 20)
    assert int((puzzles > 0).sum(1).max()) == 10


def test_a_puzzle_that_lost_a_clue_too_many_is_noticed() -> None:
    puzzles, _ = sudokus("few-clues", 8)
    seen = []
    for puzzle in puzzles:
        cut = puzzle.clone()
        cut[int((puzzle > 0).nonzero()[0])] = 0
        seen.append(completions(cut))
        assert count_solutions(cut.tolist(), limit=10**6) == seen[-1]
        assert count_solutions(cut.tolist()) == min(seen[-1], 2)
    assert max(seen) > 1
    assert count_solutions([1, 1] + [0] * 34) == 0


def symmetries() -> torch.Tensor:
    """(3456, 36): all orders of rows within bands, bands, columns within stacks, and stacks."""

    def lines(size: int):
        inner = list(itertools.permutations(range(size)))
        for blocks in itertools.permutations(range(6 // size)):
            for orders in itertools.product(inner, repeat=6 // size):
                yield [block * size + line for block, order in zip(blocks, orders, strict=True) for line in order]

    both = itertools.product(lines(2), list(lines(3)))
    return torch.tensor([[6 * row + column for row in rows for column in columns] for rows, columns in both])


def canonical(grid: torch.Tensor, orders: torch.Tensor) -> tuple[int, ...]:
    """The first, in lexicographic order, of all grids that are the same up to symmetry."""
    moved = grid[orders] - 1
    label = torch.empty(len(moved), 6, dtype=torch.long).scatter_(
        1, moved[:, :6], torch.arange(6).expand(len(moved), 6)
    )
    return min(map(tuple, label.gather(1, moved).tolist()))


def test_no_grid_of_test_or_validation_is_equivalent_to_one_in_training() -> None:
    orders = symmetries()
    assert len(orders.unique(dim=0)) == 3456
    forms = {
        split: {canonical(grid, orders) for grid in sudokus(split, rows)[1]}
        for split, rows in (("train", 50), ("validation", 12), ("test", 12), ("few-clues", 12))
    }
    assert not forms["train"] & (forms["validation"] | forms["test"] | forms["few-clues"])
    assert not forms["validation"] & (forms["test"] | forms["few-clues"])
    assert len(forms["train"]) > 10


def test_sudoku_grids_fall_into_49_classes() -> None:
    assert len(reduced_grids().unique(dim=0)) * math.factorial(6) == 28_200_960
    assert len(grid_classes().unique()) == 49
    orders, some = symmetries(), torch.arange(0, 39168, 1700)
    forms = [canonical(reduced_grids()[index], orders) for index in some]
    for (form, label), (other, its_label) in itertools.combinations(zip(forms, grid_classes()[some], strict=True), 2):
        assert (form == other) == (label == its_label)


@pytest.mark.parametrize(("face", "orders"), [((4, 4), 4), ((4, 4), 16), ((8, 8), 16)])
def test_blocks_are_delivered_to_the_sites_that_the_first_one_says(face, orders: int) -> None:
    pairs = make_split("delivery", "test", 300, seed=5, faces=[face], options={"orders": orders})
    inputs, targets = (rows.view(300, -1, 4) for rows in (pairs.inputs, pairs.targets))
    sites = delivery_sites(pairs.inputs, seed=5, orders=orders)
    replayed = torch.full_like(targets, torch.nan)
    for row, block in itertools.product(range(300), range(inputs.shape[1])):
        replayed[row, sites[row, block]] = inputs[row, block]
    assert torch.equal(replayed, targets)
    assert (sites[:, 0] == 0).all()
    assert len(sites.unique(dim=0)) == len(inputs[:, 0].unique(dim=0)) == orders
    rows = make_split("delivery", "train", 20, seed=5, faces=[face], options={"orders": orders})
    again = delivery_sites(rows.inputs, seed=5, orders=orders)
    assert {tuple(row) for row in again.tolist()} <= {tuple(row) for row in sites.tolist()}
    assert orders == 16 or torch.allclose(inputs[:, 0].square().mean(1), torch.ones(300))


def test_parity_of_a_chain_is_the_running_sum() -> None:
    pairs = make_split("chain-parity", "test", 20, faces=[(33, 1)])
    bits, sums = class_of_cells(pairs.inputs, 2), class_of_cells(pairs.targets, 2)
    for row, expected in zip(bits.tolist(), sums.tolist(), strict=True):
        assert list(itertools.accumulate(row, lambda one, other: one ^ other)) == expected


def test_products_of_a_chain_are_made_move_by_move() -> None:
    pairs = make_split("chain-s5", "test", 20, faces=[(40, 1)])
    moves, products = class_of_cells(pairs.inputs, 5), class_of_cells(pairs.targets, 120)
    ordered = sorted(itertools.permutations(range(5)))
    for row, expected in zip(moves.tolist(), products.tolist(), strict=True):
        things = list(range(5))
        for move, product in zip(row, expected, strict=True):
            things = [things[place] for place in MOVES[move]]
            assert ordered.index(tuple(things)) == product
    ends = class_of_cells(make_split("chain-s5", "test", 2000).targets, 120)[:, -1]
    assert len(ends.unique()) == 120
    assert len(set(MOVES)) == 5 and tuple(range(5)) not in MOVES


@pytest.mark.parametrize("name", NEW)
def test_a_seed_gives_the_same_rows_and_another_one_others(name: str) -> None:
    one, same, other = (make_task(name, 20, 20, seed=seed) for seed in (1, 1, 2))
    for split in ("train", "validation", "test"):
        assert torch.equal(getattr(one, split).inputs, getattr(same, split).inputs)
        assert torch.equal(getattr(one, split).targets, getattr(same, split).targets)
        assert not torch.equal(getattr(one, split).inputs, getattr(other, split).inputs)
    assert not torch.equal(one.train.inputs, one.test.inputs)
    assert one.train.face == TASKS[name].face


@pytest.mark.parametrize("name", NEW)
def test_the_targets_themselves_have_a_full_score_and_no_output_has_none(name: str) -> None:
    task, pairs = TASKS[name], make_split(name, "test", 40)
    assert task.score(pairs.inputs, pairs.targets, pairs.targets, pairs.face) == 1.0
    assert task.score(pairs.inputs, torch.zeros_like(pairs.targets), pairs.targets, pairs.face) <= 0.05


@pytest.mark.parametrize("name", SIZED)
def test_sizes_are_parts_and_each_is_the_same_with_or_without_the_others(name: str) -> None:
    task = TASKS[name]
    data = make_task(name, 13, 12, sizes=task.sizes)
    for pairs, faces in ((data.train, task.train_sizes), (data.test, task.test_sizes)):
        parts = pairs.parts if isinstance(pairs, SizedPairs) else (pairs,)
        assert tuple(part.face for part in parts) == faces
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert sum(map(len, parts)) in (12, 13)
    last = make_split(name, "test", 12 // len(task.test_sizes), faces=task.test_sizes[-1:])
    part = data.test.parts[-1] if isinstance(data.test, SizedPairs) else data.test
    assert torch.equal(last.inputs, part.inputs) and torch.equal(last.targets, part.targets)
    settings = data_settings(data)
    assert settings["sites"] == task.face and settings["input_embedding_dim"] % math.prod(task.face) == 0


def sized() -> SizedPairs:
    """Three rows of 2 x 1 sites and four of 1 x 3, all numbers different."""
    numbers = torch.arange(100.0)
    two, three = numbers[:12].view(3, 4), numbers[12:36].view(4, 6)
    return SizedPairs((PairSet(two, two[:, :2]), PairSet(three, three[:, :3])), ((2, 1), (1, 3)))


def test_rows_of_several_sizes_are_numbered_through() -> None:
    pairs = sized()
    assert len(pairs) == 7 and pairs.offsets == (0, 3, 7)
    inputs, targets = pairs.batch(torch.tensor([6, 3]))
    assert torch.equal(inputs, pairs.parts[1].inputs[[3, 0]])
    assert torch.equal(targets, pairs.parts[1].targets[[3, 0]])
    assert torch.equal(pairs.batch(torch.tensor([2]))[0], pairs.parts[0].inputs[2:])
    assert pairs.face_of(torch.tensor([0, 2])) == (2, 1)
    assert pairs.face_of(torch.tensor([3])) == (1, 3)
    assert pairs.parts[0].face == (2, 1)
    assert pairs.parts[1].subset(torch.tensor([1])).face == pairs.parts[1].spaced(2).face == (1, 3)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: sized().batch(torch.tensor([2, 3])), r"rows 2 and 3 are of faces \(2, 1\) and \(1, 3\); give a batch"),
        (lambda: sized().face_of(torch.tensor([7])), "rows reach from 7 to 7, and there are 7; give numbers of rows"),
        (lambda: sized().face_of(torch.tensor([-1])), "rows reach from -1"),
        (lambda: sized().batch(torch.tensor([], dtype=torch.long)), "rows is empty; give one row at least"),
        (lambda: SizedPairs((), ()), "0 parts and 0 faces; give one part at least, and a face for each"),
        (lambda: SizedPairs(sized().parts, ((2, 1),)), "2 parts and 1 faces"),
        (
            lambda: SizedPairs(sized().parts[::-1], ((2, 1), (1, 3))),
            r"faces: \(2, 1\) for a part that was made for \(1",
        ),
        (lambda: SizedPairs(sized().parts[:1] * 2, ((2, 1),) * 2), "give each face once"),
        (lambda: PairSet(torch.ones(1, 2), torch.ones(1, 2), face=(0, 2)), r"face = \(0, 2\); give columns and rows"),
    ],
)
def test_pairs_of_several_sizes_refuse_what_does_not_fit(use, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        use()


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (
            lambda: make_task("maze", 9, options={"loop": 1}),
            "loop = 1; the task 'maze' has no such option: give one of l",
        ),
        (lambda: make_task("rotation", 9, options={"loops": 1}), "the task 'rotation' has no such option: it has none"),
        (lambda: make_task("maze", 9, options={"loops": 1.5}), "loops = 1.5; give a share from 0 to 1"),
        (lambda: make_task("flood", 9, options={"blocked": -1}), "blocked = -1; give a share from 0 to 1"),
        (lambda: make_task("delivery", 9, options={"orders": 5}), "orders = 5; give one of 4, 16"),
        (lambda: make_task("delivery", 9, sizes=Sizes.one((4, 5))), r"face = \(4, 5\): .* give \(4, 4\) or \(8, 8\)"),
        (lambda: make_task("maze", 9, sizes=Sizes.one((1, 1))), r"face = \(1, 1\): .*give at least two cells"),
        (lambda: make_task("chain-s5", 9, sizes=Sizes.one((4, 4))), r"\(4, 4\): a chain is one row .* \(16, 1\)"),
        (lambda: make_task("chain-parity", 9, sizes=Sizes.one((1, 4))), r"\(1, 4\): a chain is one row .* \(4, 1\)"),
        (lambda: make_task("sudoku-6", 9, sizes=Sizes.one((4, 4))), r"'sudoku-6' has the face \(6, 6\) alone"),
        (lambda: make_task("rotation", 9, sizes=Sizes.one((4, 4))), "'rotation' has no faces: leave sizes out"),
        (lambda: make_task("maze", 3, sizes=TASKS["maze"].sizes), "3 rows for 4 sizes of train; give one row each"),
        (lambda: make_split("sudoku-6", "many", 3), "split = 'many'; .* has train, validation, test, few-clues: give"),
        (lambda: make_split("maze", "few-clues", 3), "the task 'maze' has train, validation, test: give one of these"),
        (lambda: make_split("maze", "test", 3, faces=[(3, 3), (3, 3)]), "give one face at least, and each once"),
        (lambda: make_split("maze", "test", 3, faces=[]), "give one face at least, and each once"),
        (lambda: Sizes.one((3, 0)), r"sizes: train = \(3, 0\); give columns and rows of sites, such as \(5, 5\)"),
        (lambda: TASKS["rotation"].sizes, "train = \\(\\); give one face at least"),
        (lambda: delivery_sites(torch.ones(2, 64)), "first block of row 0 selects none of 4 orders"),
        (lambda: delivery_sites(torch.ones(2, 63)), r"shape \(2, 63\); give rows of blocks of 4 numbers"),
        (
            lambda: maze_text(torch.ones(54), torch.ones(8), (3, 3)),
            r"has 54 inputs and 9 marks, got shapes \(54,\) and",
        ),
    ],
)
def test_what_a_task_has_not_is_refused(use, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        use()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_sizes": ((2, 2),)}, "give face, train_sizes and test_sizes where the size is free, or face alone"),
        ({"train_sizes": ((2, 2),), "test_sizes": ((2, 2),)}, "give face, train_sizes and test_sizes"),
        ({"face": (2, 2), "train_sizes": ((2, 2),), "test_sizes": ((2, 2), (2, 2))}, "sizes: test = .* each once"),
        ({"face": (2,)}, r"face = \(2,\); give columns and rows"),
    ],
)
def test_a_task_whose_sizes_do_not_fit_is_refused_when_it_is_added(tasks, changes, words: str) -> None:
    with pytest.raises(ValueError, match=f"task 'own': .*{words}"):
        tasks.add("own", Task("ones; ones", lambda *rest: None, "R2", r_squared, {}, **changes))


def test_every_cell_has_as_many_numbers_at_every_size(tasks) -> None:
    def wider_at_test(rows, split, fixed, random, *, face):
        cell = 3 if split == "test" else 2
        return torch.ones(rows, cell * math.prod(face)), torch.ones(rows, math.prod(face))

    sizes = {"face": (2, 2), "train_sizes": ((2, 2), (3, 3)), "test_sizes": ((4, 4),)}
    tasks.add("own", Task("ones; ones", wider_at_test, "R2", r_squared, {}, **sizes))
    with pytest.raises(ValueError, match="inputs of width 8 for train at 2 x 2 and 48 for test at 4 x 4; give every"):
        make_task("own", 10, 10, sizes=tasks["own"].sizes)


@pytest.mark.parametrize("sizes", [TASKS["maze"].sizes, Sizes(((3, 3),), ((3, 3), (4, 3)), ((5, 2),))])
def test_a_set_of_several_sizes_is_read_as_it_was_written(tmp_path, sizes) -> None:
    options = {"loops": 0.2}
    manifest = build_task("maze", tmp_path / "set", 20, 15, seed=1, sizes=sizes, options=options)
    data, same = load_data(str(tmp_path / "set")), make_task("maze", 20, 15, 1, sizes, options)
    assert data.task == "maze" and data_settings(data) == data_settings(same)
    for split in ("train", "validation", "test"):
        pairs, expected = getattr(data, split), getattr(same, split)
        assert type(pairs) is type(expected)
        parts, wanted = (one.parts if isinstance(one, SizedPairs) else (one,) for one in (pairs, expected))
        assert [part.face for part in parts] == [part.face for part in wanted] == list(getattr(sizes, split))
        for part, other in zip(parts, wanted, strict=True):
            assert torch.equal(part.inputs, other.inputs) and torch.equal(part.targets, other.targets)
    assert manifest["options"] == options and manifest["pairs"] == 50 and "Sizes(" in manifest["made_by"]
    with pytest.raises(ValueError, match="holds files already"):
        build_task("maze", tmp_path / "set", 20, 15)


def test_a_part_that_changed_on_disk_is_noticed(tmp_path) -> None:
    build_task("maze", tmp_path, 8, 8, sizes=Sizes(((3, 3), (4, 4)), ((3, 3),), ((4, 4),)))
    path = tmp_path / "4x4" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"face": [2, 8]}))
    with pytest.raises(ValueError, match="the checksum differs"):
        load_data(str(tmp_path))


def test_a_set_of_one_size_keeps_its_face(tmp_path) -> None:
    build_task("flood", tmp_path / "set", 8, 8, sizes=Sizes.one((4, 3)))
    data = load_data(str(tmp_path / "set"))
    assert data.train.face == data.validation.face == data.test.face == (4, 3)


def test_rows_with_and_without_a_face_are_not_written_together(tmp_path) -> None:
    one, other = (PairSet(torch.ones(2, 2), torch.ones(2, 2), face=face) for face in ((2, 1), None))
    with pytest.raises(ValueError, match="some rows have a face and others none; give all of them one, or none"):
        write_data_folder(tmp_path, PairData("own", one, one, other), {"name": "own"})


def test_a_maze_is_drawn() -> None:
    room = open_room(3, 0, 8).view(9, 6)
    room[3, 0] = room[4, 2] = room[4, 1] = room[7, 3] = 0  # walls right of cell 3, and below cell 4
    marks = torch.tensor([1, 1, 1, 0, 0, 1, 0, 0, 1])
    assert maze_text(room.flatten(), marks, (3, 3)).splitlines() == [
        "┌───────────┐",
        "│ S   .   . │",
        "│   ╷       │",
        "│   │     . │",
        "│   └───╴   │",
        "│         G │",
        "└───────────┘",
    ]
    assert maze_text(room.flatten(), marks, (3, 3), plain=True).splitlines() == [
        "+---+---+---+",
        "| S   .   . |",
        "+   +   +   +",
        "|   |     . |",
        "+   +---+   +",
        "|         G |",
        "+---+---+---+",
    ]
    outputs = torch.eye(2)[marks].flatten()
    assert TASKS["maze"].draw(room.flatten(), outputs, (3, 3)) == maze_text(room.flatten(), marks, (3, 3))


def test_a_flood_is_drawn() -> None:
    row = torch.eye(3)[torch.tensor([2, 0, 1, 0, 1, 0])].flatten()
    marks = torch.tensor([1, 1, 0, 0, 1, 0])
    assert flood_text(row, marks, (3, 2)) == "S ≈ █\n· ! ·"
    assert flood_text(row, marks, (3, 2), plain=True) == "S ~ #\n. ! ."
    assert TASKS["flood"].draw(row, torch.eye(2)[marks].flatten(), (3, 2)) == "S ≈ █\n· ! ·"


def test_a_sudoku_is_drawn_with_its_answer() -> None:
    solution = torch.tensor([[1, 2, 3, 4, 5, 6], [4, 5, 6, 1, 2, 3]]).repeat(3, 1).flatten()
    clues = solution.clone()
    clues[[0, 7, 35]] = 0
    inputs, outputs = torch.eye(7)[clues].flatten(), torch.eye(6)[solution - 1].flatten()
    lines = TASKS["sudoku-6"].draw(inputs, outputs, (6, 6)).splitlines()
    assert lines[:4] == [
        "┌───────┬───────┐   ┌───────┬───────┐",
        "│ . 2 3 │ 4 5 6 │   │ 1 2 3 │ 4 5 6 │",
        "│ 4 . 6 │ 1 2 3 │   │ 4 5 6 │ 1 2 3 │",
        "├───────┼───────┤   ├───────┼───────┤",
    ]
    assert lines[-2:] == ["│ 4 5 6 │ 1 2 . │   │ 4 5 6 │ 1 2 3 │", "└───────┴───────┘   └───────┴───────┘"]
    plain = TASKS["sudoku-6"].draw(inputs, outputs, (6, 6), True).splitlines()
    assert plain[:2] == ["+-------+-------+   +-------+-------+", "| . 2 3 | 4 5 6 |   | 1 2 3 | 4 5 6 |"]


@pytest.mark.parametrize(
    "sizes", [Sizes.one((3, 3)), Sizes(((3, 3), (2, 3)), ((3, 3),), ((3, 3),))], ids=["one", "two"]
)
def test_rows_for_another_box_have_the_options_of_the_set(tmp_path: Path, sizes: Sizes) -> None:
    build_task("maze", tmp_path / "open", 8, 8, sizes=sizes, options={"loops": 1.0})
    data = load_data(str(tmp_path / "open"))
    assert data.options == make_task("maze", 8, 8, sizes=sizes, options={"loops": 1.0}).options == {"loops": 1.0}
    config = create_grid_config(**data_settings(data), max_active_flows=9)
    drawn = pairs_in_box(Box(4, 4, 25), data, "test", 3, config)
    assert drawn.inputs.view(3, 16, 6)[:, :, :4].sum() == 3 * 48  # every wall is open


@pytest.mark.parametrize("name", ["maze", "flood"])
def test_a_console_is_asked_for_every_character_of_a_picture(name: str) -> None:
    pairs, draw = make_split(name, "test", 50, faces=[(5, 5)]), TASKS[name].draw
    assert isinstance(pairs, PairSet) and draw is not None
    rows = zip(*pairs.batch(torch.arange(50)), strict=True)
    drawn = {one for inputs, targets in rows for one in draw(inputs, targets, (5, 5), False)}
    assert {one for one in drawn if not one.isascii()} <= {*DRAWN}


@pytest.mark.parametrize("strange", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["digits", "maze", "flood", "sudoku-6", "chain-parity"])
def test_outputs_that_choose_nothing_hit_nothing(name: str, strange: float) -> None:
    task = TASKS[name]
    pairs = parts_of(make_split(name, "test", 6))[0]
    inputs, targets = pairs.inputs[:], pairs.targets[:]
    assert task.score(inputs, targets, targets, pairs.face) == 1.0
    assert task.score(inputs, torch.full_like(targets, strange), targets, pairs.face) == 0.0
