"""Pictures of boxes on a grid: where they lie, where they are to lie, and who carries them."""

from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from goalward.envs.boxes import AGENT, CARRYING, has_box
from goalward.pictures.figures import GOAL, own_settings, save, save_film

BOX, ROBOT, LINE = "#c58b3b", "#1b6ca8", "#d4d8dd"
MOST_FRAMES, MOST_BOARDS = 150, 16
PANEL = 2.2  # inches along a side
STEPS_A_SECOND = 5


class Board:
    """One grid in a panel, which can be shown at any step."""

    def __init__(self, axes: Axes, goal: np.ndarray):
        """`goal`: what cells should hold, (rows, columns)."""
        rows, columns = goal.shape
        side = 0.42 * 72 * PANEL / max(rows, columns)  # points of half a cell, with room around the panel
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
        axes.hlines(np.arange(rows - 1) + 0.5, -0.5, columns - 0.5, color=LINE, linewidth=0.8)
        axes.vlines(np.arange(columns - 1) + 0.5, -0.5, rows - 0.5, color=LINE, linewidth=0.8)
        targets = _places(has_box(goal))
        axes.scatter(
            *targets.T, marker="s", s=(1.7 * side) ** 2, facecolors="none", edgecolors=GOAL, linewidths=2
        )
        self._boxes = _shapes(axes, "s", 1.15 * side, BOX)
        self._robot = _shapes(axes, "o", 0.95 * side, ROBOT)
        self._load = _shapes(axes, "s", 0.5 * side, BOX)
        self._axes = axes

    def show(self, cells: np.ndarray, title: str) -> list[PathCollection]:
        """Draw what cells hold, (rows, columns)."""
        self._boxes.set_offsets(_places(has_box(cells)))
        self._robot.set_offsets(_places(cells >= AGENT))
        self._load.set_offsets(_places(cells >= CARRYING))
        self._axes.set_title(title, fontsize="small")
        return [self._boxes, self._robot, self._load]


def _shapes(axes: Axes, marker: str, side: float, colour: str) -> PathCollection:
    return axes.scatter(
        [], [], marker=marker, s=side**2, c=colour, edgecolors="black", linewidths=0.8, zorder=3
    )


def _places(chosen: np.ndarray) -> np.ndarray:
    """(x, y) of the cells that are chosen, (number, 2)."""
    return np.argwhere(chosen)[:, ::-1].astype(float)


@own_settings()
def animation(cells: np.ndarray, goals: np.ndarray, path: Path, every: int | None = None) -> None:
    """Write a GIF of episodes side by side, until a second after the last box was moved.

    `cells` (K, M, rows, columns), `goals` (M, rows, columns). `every` is the number of steps from one frame to
    the next, by default as few as `MOST_FRAMES` allow.
    """
    number = goals.shape[0]
    columns = int(np.ceil(np.sqrt(number)))
    rows = -(-number // columns)
    figure = Figure(figsize=(PANEL * columns, (PANEL + 0.2) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in panels[number:]:
        empty.set_axis_off()
    boards = [Board(axes, goal) for axes, goal in zip(panels, goals, strict=False)]
    end = _end(cells)
    steps = np.arange(0, end, every or -(-end // MOST_FRAMES))

    def draw(frame: int) -> list[PathCollection]:
        parts = []
        for board, now, goal in zip(boards, cells[steps[frame]], goals, strict=True):
            out = int(np.sum(has_box(goal) & ~has_box(now)))
            parts += board.show(now, f"step {steps[frame] + 1}: " + (f"{out} to bring" if out else "done"))
        return parts

    save_film(FuncAnimation(figure, draw, frames=len(steps), blit=False), path, STEPS_A_SECOND)


def _end(cells: np.ndarray) -> int:
    """Steps until a second after the last box was moved; all of them where none was."""
    moved = np.flatnonzero((has_box(cells[1:]) != has_box(cells[:-1])).any(axis=(1, 2, 3)))
    return min(len(cells), int(moved[-1]) + 2 + STEPS_A_SECOND) if len(moved) else len(cells)


@own_settings()
def start(cells: np.ndarray, goal: np.ndarray, path: Path, width: int, height: int) -> None:
    """Draw one grid and where its boxes are to lie, both (rows, columns)."""
    figure = Figure(figsize=(width / 100, height / 100), layout="constrained")
    Board(figure.subplots(), goal).show(cells, "")
    save(figure, path, 100)
