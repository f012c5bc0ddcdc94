"""Pictures of single rows for a terminal: mazes, floods and sudokus, in box characters or in plain ASCII.

Shapes: `S` cells of a picture, numbered row by row.
"""

from __future__ import annotations

from torch import Tensor

from ..pairs import Size

FREE, BLOCKED, SOURCE = range(3)  # the numbers of a flood's cell
CORNERS = " ╵╶└╷│┌├╴┘─┴┐┤┬┼"  # by the walls that meet: up is 1, right 2, down 4, left 8
DRAWN = f"{CORNERS}█≈·"  # what a console must be able to show; otherwise pictures are plain


def fullest_row(targets: Tensor, face: Size) -> int:
    """The number of the row with the most cells to mark, such as the longest path.

    Args:
        targets: (N, T), one-hot per cell; the first class is "not marked".
        face: columns and rows of cells.
    """
    return int(targets.unflatten(1, (face[0] * face[1], -1)).argmax(2).sum(1).argmax())


def maze_text(inputs: Tensor, marks: Tensor, face: Size, plain: bool = False) -> str:
    """Draw a maze: walls, S, G, and a dot on every other cell that is marked.

    Args:
        inputs: (6 S,) of a row of the task `maze`.
        marks: (S,), not 0 where a cell is marked.
        face: columns and rows of cells.
        plain: `+---+` instead of box characters.

    Returns:
        2 * rows + 1 lines of 4 * columns + 1 characters, without a line break at the end.

    Raises:
        ValueError: the row or the marks are not those of so many cells.
    """
    _check_cells(inputs, marks, face, numbers=6)
    columns, rows = face
    cells = [[int(number > 0.5) for number in cell] for cell in inputs.view(-1, 6).tolist()]
    across, along = _walls(cells, face)
    marked = marks.tolist()
    lines = []
    for row in range(rows + 1):
        corners = [_corner(across, along, row, column, plain) for column in range(columns + 1)]
        lines.append(_line(corners, [("---" if plain else "───") if wall else "   " for wall in across[row]]))
        if row < rows:
            sides = [("|" if plain else "│") if wall else " " for wall in along[row]]
            here = range(row * columns, (row + 1) * columns)
            lines.append(_line(sides, [f" {_maze_cell(cells[cell], marked[cell])} " for cell in here]))
    return "\n".join(lines)


def flood_text(inputs: Tensor, marks: Tensor, face: Size, plain: bool = False) -> str:
    """Draw a flood: S the source, a wave on every cell that is marked, a block where it is blocked, a dot elsewhere.

    Args:
        inputs: (3 S,) of a row of the task `flood`.
        marks: (S,), not 0 where a cell is marked as reached. A mark on a blocked cell, which is wrong, shows as `!`.
        face: columns and rows of cells.
        plain: `#` for blocked instead of a full block, and `~` for a wave.

    Returns:
        as many lines as rows, of 2 * columns - 1 characters, without a line break at the end.

    Raises:
        ValueError: the row or the marks are not those of so many cells.
    """
    _check_cells(inputs, marks, face, numbers=3)
    columns, rows = face
    kinds = inputs.view(-1, 3).argmax(1).tolist()
    drawn = [_flood_cell(kind, bool(mark), plain) for kind, mark in zip(kinds, marks.tolist(), strict=True)]
    return "\n".join(" ".join(drawn[row * columns : (row + 1) * columns]) for row in range(rows))


def sudoku_text(clues: Tensor, answer: Tensor, box: Size, plain: bool = False) -> str:
    """Draw a puzzle, a dot for a blank, and its answer to the right.

    Args:
        clues: (S,) digits of a square face, 0 is a blank.
        answer: (S,) digits.
        box: columns and rows of a box.
        plain: `+---+` instead of box characters.

    Returns:
        a line for each row and for each line between boxes, without a line break at the end.
    """
    drawn = [_grid_lines(digits.tolist(), box, plain) for digits in (clues, answer)]
    return "\n".join("   ".join(line) for line in zip(*drawn, strict=True))


def _grid_lines(digits: list[int], box: Size, plain: bool) -> list[str]:
    columns, rows = box
    side = columns * rows
    wall, dash = ("|", "-") if plain else ("│", "─")
    segment = dash * (2 * columns + 1)

    def between(left: str, middle: str, right: str) -> str:
        ends = ("+", "+", "+") if plain else (left, middle, right)
        return ends[0] + ends[1].join([segment] * (side // columns)) + ends[2]

    lines = []
    for row in range(side):
        if row % rows == 0:
            lines.append(between("├", "┼", "┤") if row else between("┌", "┬", "┐"))
        cells = [str(digit or ".") for digit in digits[row * side : (row + 1) * side]]
        parts = (" ".join(cells[start : start + columns]) for start in range(0, side, columns))
        lines.append(wall + wall.join(f" {part} " for part in parts) + wall)
    return [*lines, between("└", "┴", "┘")]


def _walls(cells: list[list[int]], face: Size) -> tuple[list[list[bool]], list[list[bool]]]:
    """The walls above every cell and below the last row; the walls left of every cell and right of the last column."""
    columns, rows = face
    right, down, left, up = 0, 1, 2, 3

    def of_row(row: int, way: int) -> list[bool]:
        return [not cells[row * columns + column][way] for column in range(columns)]

    across = [of_row(row, up) for row in range(rows)] + [of_row(rows - 1, down)]
    along = [of_row(row, left) + of_row(row, right)[-1:] for row in range(rows)]
    return across, along


def _corner(across: list[list[bool]], along: list[list[bool]], row: int, column: int, plain: bool) -> str:
    """The character where the walls around a corner meet."""
    if plain:
        return "+"
    up = row > 0 and along[row - 1][column]
    down = row < len(along) and along[row][column]
    left = column > 0 and across[row][column - 1]
    right = column < len(across[row]) and across[row][column]
    return CORNERS[up + 2 * right + 4 * down + 8 * left]


def _line(borders: list[str], between: list[str]) -> str:
    """One more border than there are cells, and the cells between them."""
    return borders[0] + "".join(cell + border for cell, border in zip(between, borders[1:], strict=True))


def _maze_cell(cell: list[int], mark: float) -> str:
    start, goal = cell[4:]
    return "S" if start else "G" if goal else "." if mark else " "


def _flood_cell(kind: int, mark: bool, plain: bool) -> str:
    if kind == SOURCE:
        return "S"
    if kind == BLOCKED:
        return "!" if mark else "#" if plain else "█"
    return ("~" if plain else "≈") if mark else "." if plain else "·"


def _check_cells(inputs: Tensor, marks: Tensor, face: Size, numbers: int) -> None:
    cells = face[0] * face[1]
    if inputs.shape != (numbers * cells,) or marks.shape != (cells,):
        raise ValueError(
            f"a picture of {face[0]} x {face[1]} cells has {numbers * cells} inputs and {cells} marks, got shapes "
            f"{tuple(inputs.shape)} and {tuple(marks.shape)}; give one row and the face that it was made for"
        )
