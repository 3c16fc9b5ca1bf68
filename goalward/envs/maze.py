"""Maze layouts, and the geometry that every family of maze environments shares. NumPy only."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from goalward.errors import UserError

# ruff: noqa: E501
# The layouts of the scaling-crl code base (its ant mazes): # wall, R start, G goal, . free.
GRIDS = {
    "u_maze": "##### #RGG# ###G# #GGG# #####",
    "u_maze_eval": "##### #R..# ###.# #GGG# #####",
    "u_maze_single_eval": "##### #R..# ###.# #G..# #####",
    "u_maze_eval_1f2f3f4f5f": "##### #RGG# ###G# #.GG# #####",
    "u_maze_eval_1f2f3f4f": "##### #RGG# ###G# #..G# #####",
    "u_maze_eval_1f2f3f": "##### #RGG# ###G# #...# #####",
    "u_maze_eval_5f6f": "##### #R..# ###.# #GG.# #####",
    "u2_maze": "###### #RGGG# ####G# #GGGG# ######",
    "u2_maze_eval": "###### #R...# ####.# #GGGG# ######",
    "u3_maze": "####### #RGGGG# #####G# #GGGGG# #######",
    "u3_maze_eval": "####### #R....# #####.# #GGGGG# #######",
    "u3_maze_single_eval": "####### #R....# #####.# #G....# #######",
    "u4_maze": "##### #GGG# #R#G# ###G# #G#G# #GGG# #####",
    "u4_maze_eval": "##### #...# #R#.# ###.# #G#.# #GGG# #####",
    "u5_maze": "######## #GGGGGG# #R####G# ######G# #G####G# #GGGGGG# ########",
    "u5_maze_eval": "######## #......# #R####.# ######.# #G####G# #GGGGGG# ########",
    "u5_maze_single_eval": "######## #......# #R####.# ######.# #G####.# #......# ########",
    "u6_maze": "####### #GGGGG# #R###G# #####G# #G###G# #GGGGG# #######",
    "u6_maze_eval": "####### #.....# #R###.# #####.# #G###G# #GGGGG# #######",
    "u7_maze": "###### #GGGG# #R##G# ####G# #G##G# #GGGG# ######",
    "u7_maze_eval": "###### #....# #R##.# ####.# #G##G# #GGGG# ######",
    "big_maze": "######## #RG##GG# #GG#GGG# ##GGG### #GG#GGG# #G#GG#G# #GGG#GG# ########",
    "big_maze_eval": "######## #R.##GG# #..#..G# ##...### #..#...# #.#G.#G# #.GG#GG# ########",
    "hardest_maze": "############ #RGGG#GGGGG# #G##G#G#G#G# #GGGGGG#GGG# #G####G###G# #GG#G#GGGGG# ##G#G#G#G### #GG#GGG#GGG# ############",
}

# Layouts with one simple path from R to the far side, which the generalisation splits walk along.
SPLIT_GRIDS = ("u_maze", "u2_maze", "u3_maze", "u4_maze", "u5_maze")

Cell = tuple[int, int]


class Maze(NamedTuple):
    """One layout: its walls, and the (start, goal) cells an episode may draw."""

    name: str
    walls: np.ndarray  # (rows, columns) bool
    pairs: np.ndarray  # (pairs, 2, 2) int: start and goal cell of each possible episode
    weights: np.ndarray  # (pairs,) probability of each
    cell_size: float = 1.0  # in units of the world
    exact_starts: bool = False  # ants start in the middle of the cell, their other numbers as noisy as ever

    def centre_xy(self) -> np.ndarray:
        """Middle of the maze, in cells, (2,)."""
        return (np.array(self.walls.shape) - 1) / 2

    def half_extent(self) -> float:
        """Half the longer side of the inside, in cells."""
        return (max(self.walls.shape) - 2) / 2


def parse(name: str, grids: Mapping[str, str] = GRIDS) -> Maze:
    """Return the layout `name`: a key of `grids`, or `<layout>_gen_1f2f3f`.

    The generalisation split `<layout>_gen_1f2f` starts and ends on the path from R to the far side,
    1 or 2 cells forward, each distance equally likely and then each start equally likely. As in scaling-crl
    an ant starts exactly in the middle of its cell there.
    """
    split = re.fullmatch(r"(\w+_maze)_gen_((?:[0-9]{1,3}f)+)", name)
    if split:
        return _split(name, split[1], [int(k) for k in split[2].rstrip("f").split("f")])
    if name not in grids:
        raise UserError(f"unknown maze layout {name!r}; the layouts are {', '.join(grids)}")
    grid = grids[name].split()
    start, goals = cells(grid, "R")[0], cells(grid, "G")
    pairs = np.array([[start, goal] for goal in goals])
    return Maze(name, walls_of(grid), pairs, np.full(len(goals), 1 / len(goals)))


def _split(name: str, layout: str, steps: list[int]) -> Maze:
    if layout not in SPLIT_GRIDS:
        raise UserError(
            f"maze layout {name!r}: generalisation splits exist for {', '.join(SPLIT_GRIDS)}, not {layout}"
        )
    path = path_of(layout)
    longest = len(path) - 1
    if not all(1 <= k <= longest for k in steps):
        raise UserError(f"maze layout {name!r}: distances on the path of {layout} go from 1 to {longest}")
    pairs = [[path[i], path[i + k]] for k in steps for i in range(len(path) - k)]
    weights = [1 / len(steps) / (len(path) - k) for k in steps for i in range(len(path) - k)]
    walls = walls_of(GRIDS[layout].split())
    return Maze(name, walls, np.array(pairs), np.array(weights), exact_starts=True)


def path_of(layout: str) -> list[Cell]:
    """Cells from R to the goal farthest from it, both included, along the shortest path."""
    grid = GRIDS[layout].split()
    walls, start = walls_of(grid), cells(grid, "R")[0]
    to_start = distances(walls, start)
    cell = max(cells(grid, "G"), key=lambda goal: to_start[goal])
    path = [cell]
    while cell != start:
        cell = next(near for near in neighbours(cell) if to_start[near] == to_start[cell] - 1)
        path.append(cell)
    return path[::-1]


def distances(walls: np.ndarray, start: Cell) -> np.ndarray:
    """Cells to walk from `start` to each cell, (rows, columns); −1 where no path leads."""
    steps = np.full(walls.shape, -1)
    steps[start] = 0
    queue = deque([start])
    while queue:
        cell = queue.popleft()
        for near in neighbours(cell):
            if not walls[near] and steps[near] < 0:
                steps[near] = steps[cell] + 1
                queue.append(near)
    return steps


def neighbours(cell: Cell) -> list[Cell]:
    """The four cells beside this one. Mazes are closed by walls, so all exist for a free cell."""
    row, column = cell
    return [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]


def cells(grid: Sequence[str], mark: str) -> list[Cell]:
    """All cells of a grid with this mark, row by row."""
    return [(r, c) for r, row in enumerate(grid) for c, here in enumerate(row) if here == mark]


def walls_of(grid: Sequence[str]) -> np.ndarray:
    """True where a wall is, (rows, columns)."""
    return np.array([[here == "#" for here in row] for row in grid])
