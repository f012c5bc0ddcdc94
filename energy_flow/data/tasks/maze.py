"""Maze: mark the way from the start to the goal; the size of the maze is free.

Shapes: `N` mazes, `S` cells of a maze, numbered row by row; `E` = 6 S input width, `T` = 2 S target width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..pairs import Size
from .grid import WAYS, back, distances, neighbours
from .judging import CELL_CLASSES, chosen_class, class_of_cells, whole_rows
from .pictures import maze_text
from .task import MADE_HERE, Task, check_share

CELL_WIDTH, MARKS = 6, 2  # numbers of a cell: four openings, start, goal; off the path or on it
START, GOAL = 4, 5


def sample_maze(
    rows: int,
    split: str,
    fixed: torch.Generator,
    random: torch.Generator,
    *,
    face: Size = (5, 5),
    loops: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw mazes by a randomized depth-first search, (N, E), and the shortest path of each, (N, T).

    A cell has six numbers, 0 or 1: whether it is open to the right, down, left and up, whether it is the start, and
    whether it is the goal. Start and goal are any two cells. The target of a cell is one-hot: off the path, on it.

    Args:
        rows: N.
        split: every split is drawn alike.
        fixed: nothing here is fixed.
        random: draws the mazes.
        face: columns and rows of cells.
        loops: the probability with which a wall that the search left is opened. With 0 a maze is perfect: exactly one
            way leads from any cell to any other. Otherwise several paths may be shortest; at every cell the target
            takes the first of right, down, left and up that leads nearer.

    Raises:
        ValueError: fewer than two cells, or `loops` is no share.
    """
    if face[0] * face[1] < 2:
        raise ValueError(f"face = {face}: a maze has a start and a goal; give at least two cells")
    check_share("loops", loops)
    beside = neighbours(face)
    openings = _open_walls(_carve(rows, beside, random), beside, loops, random)
    start, goal = torch.rand(rows, len(beside), generator=random).argsort(dim=1)[:, :2].unbind(dim=1)
    ends = torch.eye(len(beside))[torch.stack((start, goal), dim=1)]  # (N, 2, S)
    inputs = torch.cat((openings.float(), ends.transpose(1, 2)), dim=2)
    return inputs.flatten(1), torch.eye(MARKS)[_path(openings, beside, start, goal).long()].flatten(1)


def shortest_paths(inputs: Tensor, outputs: Tensor, targets: Tensor, face: Size) -> float:
    """Share of the mazes in which the marked cells are a shortest path, any of them, and nothing else is marked.

    Args:
        inputs: (N, E) mazes.
        outputs: (N, T); a cell is marked where its second number is the larger.
        targets: (N, T), which are not looked at: in a maze with loops they are one path of several.
        face: columns and rows of cells.
    """
    chosen = chosen_class(outputs, MARKS)  # (N, S)
    marked, clear = chosen == 1, (chosen >= 0).all(1)
    cells = inputs.reshape(len(inputs), -1, CELL_WIDTH)
    openings, beside = cells[:, :, : len(WAYS)] > 0.5, neighbours(face)
    start, goal = cells[:, :, START].argmax(1), cells[:, :, GOAL].argmax(1)
    every = torch.arange(len(inputs))
    shortest = distances(openings, beside, start)[every, goal] + 1
    beyond_too = torch.cat((marked, marked.new_zeros(len(marked), 1)), dim=1)
    along_marks = openings & marked.unsqueeze(2) & beyond_too[:, beside]
    connected = distances(along_marks, beside, start)[every, goal] >= 0
    return float((connected & clear & (marked.sum(1) == shortest)).double().mean())


def draw_maze(inputs: Tensor, outputs: Tensor, face: Size, plain: bool = False) -> str:
    """The picture of one maze, (E,), with the cells that the output (T,) marks."""
    return maze_text(inputs, class_of_cells(outputs.unsqueeze(0), MARKS)[0], face, plain)


def waiting_maze(inputs: Tensor, face: Size, random: torch.Generator) -> Tensor:
    """(N, E) mazes to the same with marks on their dead ends, so that hardly a cell can be ruled out yet.

    A dead end that is neither start nor goal is on no path, and what it leads to neither: ruling cells out begins
    there. A random share of the dead ends is marked as start or goal, another share in every maze.

    Args:
        inputs: (N, E).
        face: columns and rows of cells.
        random: draws the marks.
    """
    cells = inputs.view(len(inputs), -1, CELL_WIDTH).clone()
    dead_end = cells[:, :, : len(WAYS)].sum(2) == 1
    share = 1.5 * torch.rand(len(cells), 1, generator=random)
    marked = dead_end & (torch.rand(dead_end.shape, generator=random) < share)
    which = torch.rand(dead_end.shape, generator=random) < 0.5
    cells[:, :, START][marked & which] = 1
    cells[:, :, GOAL][marked & ~which] = 1
    return cells.flatten(1)


def _carve(mazes: int, beside: Tensor, random: torch.Generator) -> Tensor:
    """(N, S, 4) bool: the openings of perfect mazes, all of them carved at once.

    Each maze has a trail. From the trail's end the search opens the wall to a cell that it has not seen, chosen at
    random, and goes there; where all are seen, it goes back by one cell. Every cell is entered once and left once.
    """
    cells, every = len(beside), torch.arange(mazes)
    openings = torch.zeros(mazes, cells, len(WAYS), dtype=torch.bool)
    seen = torch.zeros(mazes, cells + 1, dtype=torch.bool)
    seen[:, cells] = True  # beyond the edge
    trail, end = torch.zeros(mazes, cells, dtype=torch.long), torch.zeros(mazes, dtype=torch.long)
    trail[:, 0] = torch.randint(cells, (mazes,), generator=random)
    seen[every, trail[:, 0]] = True
    for _ in range(2 * (cells - 1)):
        here = trail[every, end]
        free = ~seen[every.unsqueeze(1), beside[here]]
        way = (torch.rand(mazes, len(WAYS), generator=random) + free).argmax(1)
        goes = free.any(1)
        end = (end + torch.where(goes, 1, -1)).clamp(min=0)
        maze, here, way = every[goes], here[goes], way[goes]
        there = beside[here, way]
        openings[maze, here, way] = openings[maze, there, back(way)] = True
        seen[maze, there] = True
        trail[maze, end[maze]] = there
    return openings


def _open_walls(openings: Tensor, beside: Tensor, share: float, random: torch.Generator) -> Tensor:
    """The same (N, S, 4) openings, and this share of the walls that are left between cells."""
    if share == 0:
        return openings
    chosen = (torch.rand(openings.shape, generator=random) < share) & (beside < len(beside))
    chosen[:, :, 2:] = False  # every wall is the right or the lower one of one cell
    maze, here, way = chosen.nonzero(as_tuple=True)
    openings = openings | chosen
    openings[maze, beside[here, way], back(way)] = True
    return openings


def _path(openings: Tensor, beside: Tensor, start: Tensor, goal: Tensor) -> Tensor:
    """(N, S) bool: the cells of a shortest path, both ends included."""
    distance = distances(openings, beside, goal)
    beyond_too = torch.cat((distance, distance.new_full((len(distance), 1), len(beside))), dim=1)
    marked = torch.zeros_like(distance, dtype=torch.bool)
    maze, here = torch.arange(len(openings)), start
    while len(maze):
        marked[maze, here] = True
        nearer = openings[maze, here] & (beyond_too[maze.unsqueeze(1), beside[here]] < distance[maze, here, None])
        goes = nearer.any(1)
        way = nearer.long().argmax(1)
        maze, here = maze[goes], beside[here, way][goes]
    return marked


def path_cells(inputs: Tensor, targets: Tensor) -> Tensor:
    """(N, E) inputs and their targets to (N,) int64: the cells of the shortest path."""
    return class_of_cells(targets, MARKS).sum(1)


MAZE = Task(
    "mazes; per cell whether it is open to the right, down, left and up, is the start, is the goal; per cell whether it"
    " is on the shortest path, one-hot",
    sample_maze,
    "whole mazes",
    partial(whole_rows, classes=MARKS),
    CELL_CLASSES | {"target_classes": MARKS},
    licence=MADE_HERE,
    face=(5, 5),
    train_sizes=((3, 3), (4, 4), (5, 5), (6, 6)),
    test_sizes=((5, 5), (7, 7), (9, 9), (13, 13), (17, 17)),
    options={"loops": 0.0},
    judge=shortest_paths,
    draw=draw_maze,
    waiting=waiting_maze,
    rows=40_000,
    difficulty=path_cells,
)
