"""Learned distances over a maze beside the true ones: does a critic know the way, or only the place?"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import rankdata

from goalward.envs.maze import Maze
from goalward.errors import UserError
from goalward.pictures import style
from goalward.pictures.figures import GOAL, distances, in_walls, maze_of, paint, places
from goalward.pictures.walking import walking_distances
from goalward.training import Experiment

COLUMNS = 3


class Ranks(NamedTuple):
    """Spearman's rank correlation of the learned distance to two true ones, over the free places of a maze."""

    walking: float
    straight: float


class Map(NamedTuple):
    """A learned distance at `figures.places`, NaN in walls, and how well it is ordered."""

    title: str
    learned: np.ndarray
    ranks: Ranks


def distance_rank(experiment: Experiment, agent: Any, goal_cell: np.ndarray) -> Ranks:
    """How the learned distance to a goal orders a maze's places: as the way does, or as the straight line.

    Raises `UserError` for an environment that is no point maze.
    """
    return learned_map("", experiment, agent, goal_cell).ranks


def learned_map(title: str, experiment: Experiment, agent: Any, goal_cell: np.ndarray) -> Map:
    """The learned distance to a goal, with its ranks. Raises `UserError` for what is no point maze."""
    if experiment.env.maze is None or experiment.env.task is not None:
        raise UserError(f"{experiment.env.name} is no point maze; only there distances are mapped")
    learned = distances(experiment, agent, goal_cell)
    true = true_distances(maze_of(experiment), goal_cell)
    return Map(title, learned, Ranks(*(rank_correlation(learned, one) for one in true)))


def true_distances(maze: Maze, goal_cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From all `figures.places` to a goal in cells: along the shortest way, and straight; NaN in walls."""
    points, wall = places(maze), in_walls(maze)
    straight = np.where(wall, np.nan, np.linalg.norm(points - goal_cell, axis=-1))
    walking = np.full(wall.shape, np.nan)
    walking[~wall] = walking_distances(maze.walls, points[~wall], np.asarray(goal_cell, float))
    return walking, straight


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ where both are finite; 0 where one of them orders nothing."""
    both = np.isfinite(a) & np.isfinite(b)
    ranks = [rankdata(values[both]) for values in (a, b)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


@style.large_text()
def distance_maps(maze: Maze, goal_cell: np.ndarray, maps: Sequence[Map]) -> Figure:
    """The way and the straight line to a goal, then what was learned; every panel has its own scale."""
    figure, axes = style.panels(len(maps) + 2, COLUMNS)
    rows, columns = maze.walls.shape
    figure.set_size_inches(2.4 * COLUMNS, -(-len(axes) // COLUMNS) * (2.25 * rows / columns + 0.5) + 1.3)
    walking, straight = true_distances(maze, goal_cell)
    shown = [("walking distance", walking), ("straight line", straight)]
    shown += [
        (f"{one.title}\nwalking {one.ranks.walking:.2f}, straight {one.ranks.straight:.2f}", one.learned)
        for one in maps
    ]
    for panel, (title, values) in zip(axes, shown, strict=True):
        paint(panel, maze, values, goal_cell)
        panel.set_title(title, fontsize=10)
    marks: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white"}
    handles = [
        Line2D([], [], marker="*", color=GOAL, markersize=14, label="goal", **marks),
        Line2D([], [], marker="o", color="black", markersize=7, label="start", **marks),
    ]
    style.legend(
        figure, handles, "light: near; dark: far; each map has its own scale\n"
        "above: rank correlation, of this goal alone, with\nthe walking distance and with the straight line",
    )  # fmt: skip
    return figure
