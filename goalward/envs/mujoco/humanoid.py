"""The humanoid: on open ground and in mazes.

Observation (259): position, orientation and joint angles (24), their velocities (23), of each of 13 bodies the
inertia about the centre of mass of all, but for its mass, which is constant (9), and its velocity (6), and the
last controls (17). Goal: xyz of the torso in m. Action (17): torques.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs import maze as mazes
from goalward.envs.mujoco import models
from goalward.envs.mujoco.ant import direction, pair_drawer
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import check

# 0.03 s a step, as what is in force in scaling-crl; 10 steps of 0.003 s take 1.7 times as long.
TIMESTEP, SUBSTEPS = 0.005, 6
QPOS, QVEL, BODIES, CONTROLS = 24, 23, 13, 17
HEALTHY_Z = (1.0, 2.0)  # the torso's height, outside of which an episode ends
GOAL_Z = 1.25
# The mazes of scaling-crl's humanoid; its far goals of the big maze are one more than the ant's.
GRIDS = {
    **{name: mazes.GRIDS[name] for name in ("u_maze", "u_maze_eval", "big_maze", "hardest_maze")},
    "big_maze_eval": "######## #R.##GG# #..#.GG# ##...### #..#...# #.#G.#G# #.GG#GG# ########",
}


@dataclass(frozen=True)
class HumanoidSettings:
    """Settings of the humanoid on open ground."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    nearest_goal: float = 1.0  # m from the middle
    farthest_goal: float = 5.0
    start_noise: float = 0.01  # uniform, of positions in m and rad and of velocities

    def __post_init__(self):
        check("humanoid", self, episode_length=(1, np.inf), goal_threshold=(1e-9, np.inf),
              nearest_goal=(0, self.farthest_goal), farthest_goal=(0, 1e3), start_noise=(0, 0.1))  # fmt: skip


@dataclass(frozen=True)
class HumanoidMazeSettings:
    """Settings of the humanoid in a maze."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    start_noise: float = 0.01
    cell_size: float = 2.0  # m; walls are half as high

    def __post_init__(self):
        check("humanoid maze", self, episode_length=(1, np.inf), goal_threshold=(1e-9, np.inf),
              start_noise=(0, 0.1), cell_size=(1.0, 100.0))  # fmt: skip


def humanoid(name: str, settings: HumanoidSettings) -> Task:
    """Walk to a point in any direction."""

    def places(key: PRNGKeyArray) -> tuple[Array, Array]:
        angle_key, distance_key = jax.random.split(key)
        distance = jax.random.uniform(
            distance_key, (), minval=settings.nearest_goal, maxval=settings.farthest_goal
        )
        return jnp.zeros(2), distance * direction(angle_key)

    return _task(name, models.gymnasium_model("humanoid", TIMESTEP), settings, places)


def humanoid_maze(name: str, settings: HumanoidMazeSettings) -> Task:
    """Walk to a cell of a maze. The layout is what follows "humanoid_" in the name."""
    layout = mazes.parse(name.removeprefix("humanoid_"), GRIDS)._replace(cell_size=settings.cell_size)
    spec = models.gymnasium_model("humanoid", TIMESTEP)
    models.add_walls(spec, layout.walls, settings.cell_size, settings.cell_size / 2)
    return _task(name, spec, settings, pair_drawer(layout), layout)


def _task(
    name: str,
    spec: mujoco.MjSpec,
    settings: Any,
    places: Callable[[PRNGKeyArray], tuple[Array, Array]],
    maze: mazes.Maze | None = None,
) -> Task:
    """Build a task from where things are: `places` gives xy of the start and of the goal."""
    model = spec.compile()
    posture = jnp.asarray(models.initial_qpos(model))

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        place_key, qpos_key, qvel_key = jax.random.split(key, 3)
        here, wanted = places(place_key)
        noise = settings.start_noise * jax.random.uniform(qpos_key, (QPOS,), minval=-1.0, maxval=1.0)
        qpos = (posture + noise).at[:2].add(here)
        qpos = qpos.at[3:7].divide(jnp.linalg.norm(qpos[3:7]))
        qvel = settings.start_noise * jax.random.uniform(qvel_key, (QVEL,), minval=-1.0, maxval=1.0)
        return Start(qpos, qvel), jnp.concatenate([wanted, jnp.full(1, GOAL_Z)])

    def observe(physics: Physics) -> Array:
        assert physics.cinert is not None  # noqa: S101  # the task reads all three
        assert physics.cvel is not None  # noqa: S101
        assert physics.ctrl is not None  # noqa: S101
        inertia, velocity = physics.cinert[1:, :9].ravel(), physics.cvel[1:].ravel()
        return jnp.concatenate([physics.qpos, physics.qvel, inertia, velocity, physics.ctrl])

    def terminated(physics: Physics) -> Array:
        return (physics.qpos[2] < HEALTHY_Z[0]) | (physics.qpos[2] > HEALTHY_Z[1])

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(wanted), settings.goal_threshold)]

    obs_dim = QPOS + QVEL + 15 * BODIES + CONTROLS
    shifts = () if maze else ((0,), (1,))
    return Task(
        name=name,
        model=model,
        substeps=SUBSTEPS,
        spec=reach_spec(
            model, obs_dim, slice(0, 3), settings.episode_length, settings.goal_threshold, shifts=shifts
        ),
        reset=reset,
        observe=observe,
        markers=markers,
        terminated=terminated,
        reads=("cinert", "cvel", "ctrl"),
        maze=maze,
    )


TASKS: dict[str, tuple[Callable[[str, Any], Task], Any]] = {
    "humanoid": (humanoid, HumanoidSettings()),
    **{f"humanoid_{layout}": (humanoid_maze, HumanoidMazeSettings()) for layout in GRIDS},
}
