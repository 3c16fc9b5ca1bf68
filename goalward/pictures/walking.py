"""How far it is to walk in a maze: exactly, around the corners of its walls."""

import numpy as np
from scipy.sparse.csgraph import dijkstra

OFF = 1e-6  # cells between a corner and a way around it, so that the way touches no wall


def walking_distances(walls: np.ndarray, points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Length of the shortest way from each point (N, 2) to the goal (2,), in cells; inf where there is none.

    A shortest way is made of straight pieces, and bends only where a corner of a wall sticks out: it is a path
    in the graph of corners that see each other (Lozano-Pérez and Wesley 1979). Between two walls that touch at
    a corner there is no way. Points are (row, column), whole numbers in the middle of a cell, and in no wall.
    """
    turns = np.concatenate([goal[None], _corners(walls)])
    to_goal = dijkstra(_lengths(walls, turns, turns), indices=0)
    return (_lengths(walls, points, turns) + to_goal).min(axis=1)


def _corners(walls: np.ndarray) -> np.ndarray:
    """Corners of walls that stick out into free space, (C, 2): of the four cells around, one is a wall."""
    found = []
    around = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for row, column in np.ndindex(walls.shape[0] - 1, walls.shape[1] - 1):
        (filled,) = np.nonzero([walls[row + i, column + j] for i, j in around])
        if len(filled) == 1:
            found.append(np.array([row, column]) + 0.5 + OFF * (1 - 2 * around[filled[0]]))
    return np.array(found).reshape(-1, 2)


def _lengths(walls: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Length of the straight way between each of `a` (N, 2) and of `b` (M, 2), (N, M); inf through walls.

    A segment and a square do not touch if one of three lines parts them: along the square's two axes, or along
    the segment.
    """
    half = (b[None] - a[:, None]) / 2
    row, column = np.abs(half[..., 0]), np.abs(half[..., 1])
    free = np.ones(half.shape[:2], bool)
    for wall in np.argwhere(walls):
        middle = a[:, None] + half - wall
        aside = np.abs(middle[..., 0] * half[..., 1] - middle[..., 1] * half[..., 0])
        free &= (
            (np.abs(middle[..., 0]) > 0.5 + row)
            | (np.abs(middle[..., 1]) > 0.5 + column)
            | (aside > 0.5 * (row + column))
        )
    return np.where(free, 2 * np.hypot(row, column), np.inf)
