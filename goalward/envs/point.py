"""Point mazes in pure JAX: a point that slides along walls, with position control or with inertia."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs import maze as mazes
from goalward.envs.core import Entry, Env
from goalward.envs.settings import LARGEST, LONGEST, check
from goalward.types import EnvSpec, Sight

# Observed positions are centred and scaled so that the longer side of a maze spans ± this.
OBSERVED_HALF_EXTENT = 2.0
# A point stops this share of a cell before a wall.
WALL_GAP = 1e-3
LENS_WIDTH, LENS_GAIN = 64, 1.5


@dataclass(frozen=True)
class PointSettings:
    """Settings of a point maze; lengths are in units of the world, a cell is `cell_size` wide."""

    episode_length: int = 200
    cell_size: float = 1.0
    step_size: float = 0.2  # farthest move along one axis in one step
    goal_threshold: float = 0.5
    start_noise: float = 0.1  # starts are uniform within ± this around the cell's centre
    inertia: bool = False  # actions set the acceleration, not the velocity
    drag: float = 0.1  # share of the velocity lost each step, with inertia
    lens_layers: int = 0  # of a fixed random network through which the observation is seen; goals never are

    def __post_init__(self):
        check(
            "point maze",
            self,
            episode_length=(1, LONGEST),
            cell_size=(1e-6, LARGEST),
            step_size=(1e-4 * self.cell_size, self.cell_size * (1 - 2 * WALL_GAP)),
            goal_threshold=(1e-9, LARGEST),
            start_noise=(0.0, self.cell_size * (0.5 - WALL_GAP)),
            drag=(1e-6, 1.0),
            lens_layers=(0, 64),
        )


class PointState(NamedTuple):
    """Position and velocity in cells, relative to the centre of cell (0, 0)."""

    position: Array  # (2,)
    velocity: Array  # (2,)


def make(name: str, settings: PointSettings) -> Env:
    """Slide to a cell of a maze. The layout is what follows "point_" in the name.

    Observation: position (2), then velocity (2) with inertia, centred and scaled to about ± 2.
    Goal: position (2) in the same frame. Action (2): velocity, or acceleration with inertia, over its limit.
    """
    maze = mazes.parse(name.removeprefix("point_"))
    scale = OBSERVED_HALF_EXTENT / maze.half_extent()  # observed units a cell
    centre = jnp.asarray(maze.centre_xy(), jnp.float32)
    walls = jnp.asarray(maze.walls)
    pairs = jnp.asarray(maze.pairs, jnp.float32)
    log_weights = jnp.log(jnp.asarray(maze.weights, jnp.float32))
    max_step = settings.step_size / settings.cell_size
    noise = settings.start_noise / settings.cell_size

    def reset(key: PRNGKeyArray) -> tuple[PointState, Array]:
        pair_key, noise_key = jax.random.split(key)
        start, goal = pairs[jax.random.categorical(pair_key, log_weights)]
        position = start + jax.random.uniform(noise_key, (2,), minval=-noise, maxval=noise)
        return PointState(position, jnp.zeros(2)), (goal - centre) * scale

    def step(state: PointState, action: Array) -> PointState:
        velocity = action * max_step
        if settings.inertia:
            # The gain is the drag, so that the highest speed is max_step here too.
            velocity = state.velocity + settings.drag * (velocity - state.velocity)
        position = slide(walls, state.position, velocity)
        return PointState(position, position - state.position)

    def observe(state: PointState) -> Array:
        position = (state.position - centre) * scale
        return jnp.concatenate([position, state.velocity / max_step]) if settings.inertia else position

    def distance(achieved: Array, goal: Array) -> Array:
        return jnp.linalg.norm(achieved - goal, axis=-1) / scale * settings.cell_size

    spec = EnvSpec(
        obs_dim=4 if settings.inertia else 2,
        action_dim=2,
        goal_dim=2,
        episode_length=settings.episode_length,
        achieved=lambda obs: obs[..., :2],
        distance=distance,
        threshold=settings.goal_threshold,
    )
    if settings.lens_layers:
        see = lens(spec.obs_dim, settings.lens_layers)
        spec = spec._replace(sight=Sight(see, None, LENS_WIDTH, spec.goal_dim))
    to_maze_cells = partial(to_cells, maze)
    return Env(name, spec, reset, step, observe, lambda _: jnp.zeros((), bool), maze, to_maze_cells)


def lens(size: int, layers: int) -> Callable[[Array], Array]:
    """Make a fixed random function of observations (…, size) to (…, `LENS_WIDTH`) numbers in ± 1.

    x ↦ tanh(x W + b) so many times, W normal with the deviation `LENS_GAIN` / √fan-in, b standard normal. The
    more layers, the less do neighbours look alike.
    """
    random, parts = np.random.default_rng(0), []
    for fan_in in [size] + [LENS_WIDTH] * (layers - 1):
        weight = random.normal(0, LENS_GAIN / np.sqrt(fan_in), (fan_in, LENS_WIDTH))
        parts.append((weight.astype(np.float32), random.standard_normal(LENS_WIDTH).astype(np.float32)))

    def see(x: Array) -> Array:
        for weight, bias in parts:
            x = jnp.tanh(jnp.matmul(x, weight) + bias.reshape((1,) * (x.ndim - 1) + (-1,)))
        return x

    return see


def to_cells(maze: mazes.Maze, position: np.ndarray) -> np.ndarray:
    """Observed positions (…, 2) as (row, column) in cells."""
    return position * (maze.half_extent() / OBSERVED_HALF_EXTENT) + maze.centre_xy()


def from_cells(maze: mazes.Maze, cells: np.ndarray) -> np.ndarray:
    """(row, column) in cells (…, 2) as observed positions, or goals."""
    return (cells - maze.centre_xy()) * (OBSERVED_HALF_EXTENT / maze.half_extent())


def slide(walls: Array, position: Array, move: Array) -> Array:
    """Move by less than a cell, along x and then along y, each stopped short of a wall. In cells, (2,)."""
    row, column = position
    new_row = _stop(row, row + move[0], lambda r: walls[r, _cell(column)])
    new_column = _stop(column, column + move[1], lambda c: walls[_cell(new_row), c])
    return jnp.stack([new_row, new_column])


def _cell(x: Array) -> Array:
    return jnp.round(x).astype(jnp.int32)


def _stop(old: Array, new: Array, is_wall) -> Array:
    """`new`, or the near side of the border between the two cells when `new` lies in a wall."""
    border = jnp.round(old) + jnp.sign(new - old) * (0.5 - WALL_GAP)
    return jnp.where(is_wall(_cell(new)), border, new)


ENTRY = Entry(make, PointSettings(), "point")  # of every layout
