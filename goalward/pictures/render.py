"""Videos of what a run's policy does, and a picture of each environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from matplotlib.figure import Figure
from PIL import Image

from goalward import envs, files, prng, runs
from goalward.envs import core
from goalward.envs.maze import Maze
from goalward.errors import UserError
from goalward.limits import INT32, check_number
from goalward.pictures import boards, figures
from goalward.pictures.figures import check_new
from goalward.policy import load_experiment
from goalward.rollout import starter
from goalward.training import Experiment, evaluation_keys, evaluator

VIDEO = "episodes.gif"
VIEWS = ("auto", "top", "side")
MOST_FRAMES = 150  # of an episode in a GIF
# Frames a second: fewer would jerk, more are shown slower than meant, or are not seen.
GIF_RATES, MP4_RATES = (12.5, 50.0), (10.0, 30.0)
WIDTH, HEIGHT = 480, 360
SIZES = (64, 4096)  # of a picture, in pixels
MOST_EPISODES, MOST_STEPS = 100, 500_000  # of which the states are kept
START = "#1b6ca8"


class Pace(NamedTuple):
    """Which steps are shown, and how fast."""

    every: int  # steps from one frame to the next
    fps: float


def render(
    directory: Path,
    out: Path | None = None,
    *,
    episodes: int = 4,
    view: str = "auto",
    best: bool = False,
    width: int = WIDTH,
    height: int = HEIGHT,
    every: int | None = None,
    force: bool = False,
    env_file: Path | None = None,
) -> list[Path]:
    """Show some episodes of a run, as evaluated, in one video; the files that were written.

    Of a task with a maze there is a picture of all paths too. `every` is the number of steps from one frame to
    the next. Point mazes and grids are drawn, all episodes at once, and know neither views nor sizes; of grids
    there are no more than `boards.MOST_BOARDS`. In the run directory an earlier video is replaced, elsewhere
    only with `force`. Raises `UserError` for what is out of range, for a file that is there and for a directory
    without a run, `MachineError` where nothing can be drawn.
    """
    path = runs.picture(directory, VIDEO) if out is None else out
    if out is None:
        runs.picture(directory, _paths(path).name)
    _check(episodes, view, width, height, every)
    experiment, run = load_experiment(directory, best=best, env_file=env_file)
    env = experiment.eval_env
    _check_name(path, env)
    if env.film is not None:
        _check_as_it_is(env.name, view=(view, VIEWS[0]), width=(width, WIDTH), height=(height, HEIGHT))
    most = boards.MOST_BOARDS if env.cells is not None else max(1, MOST_STEPS // env.spec.episode_length)
    check_number("episodes", episodes, 1, most)
    check_new([path, _paths(path)] if env.maze else [path], force=force or out is None)
    keys = evaluation_keys(experiment.config, episodes)
    table, (states, obs) = evaluator(experiment, record=True)(run.agent, keys)
    path.parent.mkdir(parents=True, exist_ok=True)
    if env.cells is not None:
        cells, goals = (np.asarray(env.cells(jnp.asarray(part))) for part in (obs, table.goal))
        boards.animation(cells, goals, path, every)
        return [path]
    if env.film is not None:
        return _draw_film(env.film, jax.tree.map(np.asarray, states), path, every)
    if env.task is None:
        return _draw_points(experiment, np.asarray(obs), np.asarray(table.goal), path, every or 1)
    qpos, goals = np.asarray(states.physics.qpos), commanded(env, keys, states)
    return _draw_task(env.task, qpos, goals, path, view, (width, height), every)


def _check(episodes: int, view: str, width: int, height: int, every: int | None) -> None:
    check_number("episodes", episodes, 1, MOST_EPISODES)
    if every is not None:
        check_number("every", every, 1, INT32)
    if view not in VIEWS:
        raise UserError(f"view is {view!r}; it must be one of {', '.join(VIEWS)}")
    for name, value in (("width", width), ("height", height)):
        check_number(name, value, *SIZES)
        if value % 2:
            raise UserError(f"{name} is {value}; it must be even")


def _check_as_it_is(name: str, **given: tuple[Any, Any]) -> None:
    """Refuse settings, each beside its default, of pictures that an environment makes itself."""
    for setting, (value, usual) in given.items():
        if value != usual:
            raise UserError(f"{setting} is {value}, but {name} draws itself as it is; leave it out")


def _check_name(path: Path, env: core.Env) -> None:
    """Refuse what cannot be drawn, and a name that no video can be written to, before any work."""
    if env.task is None and env.film is None and env.cells is None and env.maze is None:
        raise UserError(
            f"{env.name} has no picture: drawn are point mazes, grids of boxes, tasks on MuJoCo, and "
            "environments of Gymnasium"
        )
    if env.task is not None or env.film is not None:
        from goalward.envs.mujoco.render import writer_for

        writer_for(path)
    elif path.suffix.lower() != ".gif":
        raise UserError(f"out is {path}; {env.name} is animated as a .gif")


def commanded(env: core.Env, keys: Key[Array, " M"], states: Any) -> np.ndarray:
    """Goals after each step of the episodes of some keys, (K, M, G), given the states, leaves (K, M, …)."""
    first = starter(env)(keys).goal
    steps = jax.tree.leaves(states)[0].shape[0]
    follow = env.follow
    if follow is None:
        return np.broadcast_to(np.asarray(first), (steps, *first.shape))

    def turn(goal: Array, state: Any) -> tuple[Array, Array]:
        goal = jax.vmap(follow)(state, goal)
        return goal, goal

    return np.asarray(jax.jit(lambda first, states: jax.lax.scan(turn, first, states)[1])(first, states))


def _draw_film(film: core.Film, states: Any, path: Path, every: int | None) -> list[Path]:
    """Episodes one after the other, as the environment draws itself; leaves of `states` (K, M, …)."""
    from goalward.envs.mujoco.render import graphics_for_others, video

    token = states.token
    ends = [length(token[:, m]) for m in range(token.shape[1])]
    pace = pace_of(1 / film.rate, max(ends), path, every)
    shown = (
        jax.tree.map(lambda leaf, t=t, m=m: leaf[t, m], states)
        for m, end in enumerate(ends)
        for t in range(0, end, pace.every)
    )
    with graphics_for_others():
        video(path, film.frames(shown), pace.fps)
    return [path]


def _draw_task(
    task: Any,
    qpos: np.ndarray,
    goals: np.ndarray,
    path: Path,
    view: Any,
    size: tuple[int, int],
    every: int | None,
) -> list[Path]:
    """Episodes one after the other, and the paths of all in a maze. `qpos` (K, M, nq), `goals` (K, M, G)."""
    from goalward.envs.mujoco import render as pictures

    width, height = size
    ends = [length(qpos[:, m]) for m in range(qpos.shape[1])]
    pace = pace_of(task.model.opt.timestep * task.substeps, max(ends), path, every)
    shown = [(slice(0, end, pace.every), m) for m, end in enumerate(ends)]
    steps, wanted = (np.concatenate([rows[part] for part in shown]) for rows in (qpos, goals))
    frames = pictures.frames(task, steps, wanted, width=width, height=height, camera=view)
    pictures.video(path, frames, pace.fps)
    if task.maze is None:
        return [path]
    colours = figures.goal_colours(goals[0])
    above = pictures.paths(task, qpos, goals[-1], colours, width=width, height=height)
    _save(above, _paths(path))
    return [path, _paths(path)]


def _draw_points(
    experiment: Experiment, obs: np.ndarray, goals: np.ndarray, path: Path, every: int
) -> list[Path]:
    """All episodes of a point maze at once. `obs` (K, M, D), `goals` (M, 2)."""
    maze = figures.maze_of(experiment)
    figures.trajectories(maze, obs, goals, _paths(path))
    figures.animation(maze, obs[::every], goals, path, MOST_FRAMES)
    return [path, _paths(path)]


def _paths(video: Path) -> Path:
    return video.with_name(f"{video.stem}_paths.png")


def length(qpos: np.ndarray) -> int:
    """Steps until the last that moved anything: an episode that ended early stands still. `qpos` (K, nq)."""
    moved = np.flatnonzero((qpos[1:] != qpos[:-1]).any(axis=1))
    return int(moved[-1]) + 2 if len(moved) else 1


def pace_of(step: float, steps: int, path: Path, every: int | None) -> Pace:
    """Which of an episode's steps, of `step` seconds each, to show in a file, as near to real time as can be.

    A GIF has no more than `MOST_FRAMES` of an episode; a long one is shown faster than it was.
    """
    gif = path.suffix.lower() == ".gif"
    slowest, fastest = GIF_RATES if gif else MP4_RATES
    if every is None:
        every = max(1, int(np.ceil(1 / (step * fastest) - 1e-6)))
        if gif:
            every = max(every, -(-steps // MOST_FRAMES))
    return Pace(every, float(np.clip(1 / (step * every), slowest, fastest)))


def gallery(
    names: Sequence[str], folder: Path, *, width: int = 480, height: int = 360, force: bool = False
) -> list[Path]:
    """Draw the start of an episode of each environment, with its goal, to `folder`/NAME.png.

    Raises `UserError` for an unknown name and, without `force`, for a file that is there already,
    `MachineError` where nothing can be drawn.
    """
    check_new([folder / f"{name}.png" for name in names], force=force)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        env, path = envs.make(name), folder / f"{name}.png"
        if env.task is not None:
            _save(_start(env, width, height), path)
        elif env.maze is not None:
            _draw_maze(env.maze, path, width, height)
        elif env.cells is not None:
            worlds = starter(env)(jax.random.split(prng.key(0), 1))
            cells, goals = (np.asarray(env.cells(part)) for part in (core.observe(env, worlds), worlds.goal))
            boards.start(cells[0], goals[0], path, width, height)
        else:
            raise UserError(f"{name} has nothing to draw: neither a model, nor a maze, nor a grid")
        written.append(path)
    return written


def _save(picture: np.ndarray, path: Path) -> None:
    with files.whole(path) as file:
        Image.fromarray(picture).save(file)


def _start(env: core.Env, width: int, height: int) -> np.ndarray:
    from goalward.envs.mujoco import render as pictures

    worlds = starter(env)(jax.random.split(prng.key(0), 1))
    qpos, goals = np.asarray(worlds.state.physics.qpos), np.asarray(worlds.goal)
    return next(pictures.frames(env.task, qpos, goals, width=width, height=height))


@figures.own_settings()
def _draw_maze(maze: Maze, path: Path, width: int, height: int) -> None:
    """The walls of a maze, with where episodes may start and where their goals may be."""
    figure = Figure(figsize=(width / 100, height / 100), layout="constrained")
    axes = figure.subplots()
    figures.draw_walls(axes, maze)
    starts, goals = (np.unique(maze.pairs[:, i], axis=0) for i in (0, 1))
    axes.scatter(goals[:, 1], goals[:, 0], marker="*", s=110, c=figures.GOAL, edgecolors="white", zorder=2)
    axes.scatter(starts[:, 1], starts[:, 0], s=60, c=START, edgecolors="white", zorder=3)
    figures.save(figure, path, 100)
