"""Pictures of what an agent learned in a maze."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter

from goalward import files
from goalward.envs.maze import Maze
from goalward.envs.maze import distances as distances_from
from goalward.envs.point import from_cells, to_cells
from goalward.errors import UserError
from goalward.training import Experiment

WALL, GOAL = "#3b3f45", "#d1495b"
PER_CELL = 12  # points of a distance map along a cell's side


def check_new(paths: Iterable[Path], *, force: bool) -> None:
    """Raise `UserError` if there is a file of one of these names already, unless it may be replaced."""
    for path in paths:
        if path.exists() and not force:
            raise UserError(f"{path} exists; name another place, or replace it with --force")


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw with Matplotlib's defaults: a user's matplotlibrc, such as one with usetex, changes no picture."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure, all at once."""
    drawn = io.BytesIO()  # not to the disk: where that is full, Pillow writes part of a JPEG and says nothing
    figure.savefig(drawn, dpi=dpi, format=path.suffix[1:].lower())
    with files.whole(path) as file:
        file.write_bytes(drawn.getvalue())


def save_film(film: FuncAnimation, path: Path, fps: int) -> None:
    """Write an animation as a GIF, all at once."""
    with files.whole(path) as file:
        film.save(file, PillowWriter(fps=fps), dpi=80)


@own_settings()
def learning_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Success rate and time at goal over environment steps."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    steps = [row["env_steps"] for row in rows]
    for name, label, colour in (
        ("success_rate", "success rate", "#1b6ca8"),
        ("time_at_goal_fraction", "time at goal", "#edae49"),
    ):
        axes.plot(steps, [row[name] for row in rows], label=label, color=colour)
        # Runs of old versions recorded no chance.
        for chance in [row[f"random_{name}"] for row in rows if f"random_{name}" in row][:1]:
            axes.axhline(chance, color=colour, linestyle=":", linewidth=1.2, label=f"{label}, random actions")
    axes.set(xlabel="environment steps", ylabel="share of episodes, of steps", ylim=(0, 1.03))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    tidy(axes)
    save(figure, path)


def tidy(axes: Axes) -> None:
    """A light grid, and no frame above and to the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def distances(experiment: Experiment, agent: Any, goal_cell: np.ndarray) -> np.ndarray:
    """Learned distance −f(s, π(s, g), g) from all over a maze to one goal; NaN in walls.

    (rows · PER_CELL, columns · PER_CELL), at rest where the observation has velocities.
    """
    maze = maze_of(experiment)
    cells = places(maze).reshape(-1, 2)
    obs = np.zeros((len(cells), experiment.env.spec.obs_dim), np.float32)
    obs[:, :2] = from_cells(maze, cells)
    goals = np.broadcast_to(from_cells(maze, goal_cell), (len(cells), 2)).astype(np.float32)
    value = np.asarray(jax.jit(experiment.agent.value)(agent, obs, goals))
    in_wall = in_walls(maze)
    return np.where(in_wall, np.nan, -value.reshape(in_wall.shape))


def places(maze: Maze) -> np.ndarray:
    """Points all over a maze, (rows · PER_CELL, columns · PER_CELL, 2), each a row and a column in cells."""
    axes = [(np.arange(size * PER_CELL) + 0.5) / PER_CELL - 0.5 for size in maze.walls.shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def in_walls(maze: Maze) -> np.ndarray:
    """Which of these points lie in walls, (rows · PER_CELL, columns · PER_CELL)."""
    return np.kron(maze.walls, np.ones((PER_CELL, PER_CELL), bool))


def draw_distances(axes: Axes, experiment: Experiment, agent: Any, goal_cell: np.ndarray) -> None:
    """Paint `distances`, with the goal and where episodes start named, and what the colours stand for."""
    maze, values = maze_of(experiment), distances(experiment, agent, goal_cell)
    image = paint(axes, maze, values, goal_cell)
    _name(axes, goal_cell, "goal")
    for start in np.unique(maze.pairs[:, 0], axis=0):
        _name(axes, start, "start")
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="learned distance −f")


def paint(axes: Axes, maze: Maze, values: np.ndarray, goal_cell: np.ndarray) -> AxesImage:
    """Paint distances at `places` with contour lines, walls, the goal and where episodes start."""
    rows, columns = maze.walls.shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    draw_walls(axes, maze)
    image = axes.imshow(values, extent=extent, cmap="viridis_r", interpolation="bilinear")
    axes.contour(values, levels=12, extent=extent, origin="upper", colors="white", linewidths=0.6, alpha=0.7)
    axes.plot(goal_cell[1], goal_cell[0], "*", color=GOAL, markersize=14, markeredgecolor="white")
    for start in np.unique(maze.pairs[:, 0], axis=0):
        axes.plot(start[1], start[0], "o", color="black", markersize=6, markeredgecolor="white")
    return image


def _name(axes: Axes, cell: np.ndarray, text: str) -> None:
    """Write a word below the middle of a cell, readable on any ground."""
    outline = [withStroke(linewidth=2.5, foreground="black")]
    axes.annotate(
        text, (cell[1], cell[0]), (0, -9), textcoords="offset points", ha="center", va="top",
        color="white", fontsize="small", path_effects=outline,
    )  # fmt: skip


def goal_name(maze: Maze, goal_cell: np.ndarray) -> str:
    """A goal as tables of evaluations name it, and how far from the nearest start it is."""
    place = ", ".join(f"{x:.2f}" for x in from_cells(maze, goal_cell))
    ways = [_way(maze, start, goal) for start, goal in maze.pairs.tolist() if goal == goal_cell.tolist()]
    return f"goal ({place}), {min(ways)} cell{'s' * (min(ways) > 1)} from the start"


def _way(maze: Maze, start: list[int], goal: list[int]) -> int:
    """Cells to walk from one to the other."""
    return int(distances_from(maze.walls, (start[0], start[1]))[tuple(goal)])


def draw_walls(axes: Axes, maze: Maze) -> None:
    """Draw a maze from above; x is the column and y the row, in cells."""
    rows, columns = maze.walls.shape
    axes.imshow(
        np.where(maze.walls, 1.0, np.nan), extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
        cmap=ListedColormap([WALL]), zorder=0,
    )  # fmt: skip
    axes.set(xticks=[], yticks=[], xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_aspect("equal")


@own_settings()
def distance_map(experiment: Experiment, agent: Any, goal_cells: Sequence[np.ndarray], path: Path) -> None:
    """The learned distance to each of some goals, side by side."""
    figure = Figure(figsize=(4.4 * len(goal_cells), 3.8), layout="constrained")
    for axes, cell in zip(np.atleast_1d(figure.subplots(1, len(goal_cells))), goal_cells, strict=True):
        draw_distances(axes, experiment, agent, cell)
        axes.set_title(goal_name(maze_of(experiment), cell), fontsize="medium")
    save(figure, path)


@own_settings()
def trajectories(maze: Maze, obs: np.ndarray, goals: np.ndarray, path: Path) -> None:
    """Paths of episodes, each in the colour of its goal. `obs` (K, M, D), `goals` (M, 2)."""
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    draw_walls(axes, maze)
    colours = goal_colours(goals)
    for track, colour in zip(to_cells(maze, obs[..., :2]).swapaxes(0, 1), colours, strict=True):
        axes.plot(track[:, 1], track[:, 0], color=colour, linewidth=1.2, alpha=0.8)
    _mark_goals(axes, maze, goals, colours)
    start = to_cells(maze, obs[0, :, :2])
    axes.plot(start[:, 1], start[:, 0], "o", color="black", markersize=3)
    axes.set_title(f"{obs.shape[1]} episodes, in the colours of their goals; dots: starts", fontsize="medium")
    save(figure, path)


@own_settings()
def animation(maze: Maze, obs: np.ndarray, goals: np.ndarray, path: Path, frames: int = 60) -> None:
    """Write a GIF of the first steps of episodes, one point an episode. `obs` (K, M, D), `goals` (M, 2)."""
    figure = Figure(figsize=(3.6, 3.6), layout="constrained")
    axes = figure.subplots()
    draw_walls(axes, maze)
    colours = goal_colours(goals)
    _mark_goals(axes, maze, goals, colours)
    tracks = to_cells(maze, obs[:frames, :, :2])[..., ::-1]  # (x, y) = (column, row)
    points: PathCollection = axes.scatter(*tracks[0].T, c=colours, s=60, edgecolors="black", zorder=3)

    def draw(frame: int) -> tuple[PathCollection]:
        points.set_offsets(tracks[frame])
        return (points,)

    save_film(FuncAnimation(figure, draw, frames=len(tracks), blit=False), path, 20)


def goal_colours(goals: np.ndarray) -> np.ndarray:
    """One colour for each different goal, (M, 4)."""
    _, index = np.unique(goals, axis=0, return_inverse=True)
    return mpl.colormaps["turbo"](np.linspace(0.08, 0.92, index.max() + 1))[index]


def _mark_goals(axes: Axes, maze: Maze, goals: np.ndarray, colours: np.ndarray) -> None:
    cells = to_cells(maze, goals)
    axes.scatter(cells[:, 1], cells[:, 0], marker="*", s=170, c=colours, edgecolors="black", zorder=2)


def maze_of(experiment: Experiment) -> Maze:
    """The maze of an experiment's environment."""
    maze = experiment.env.maze
    if maze is None:
        raise ValueError(f"{experiment.env.name} has no maze to draw")
    return maze


def farthest_goal(maze: Maze) -> np.ndarray:
    """The goal cell with the longest way from its start, (2,)."""
    ways = [_way(maze, start, goal) for start, goal in maze.pairs.tolist()]
    return maze.pairs[int(np.argmax(ways)), 1]
