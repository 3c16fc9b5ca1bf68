"""The humanoid: on open ground and in mazes.

Observation (229): position, orientation and joint angles (24), their velocities (23), of each of 11 links the
inertia about the centre of mass of all (9, a symmetric matrix), then of each the velocity of its centre of mass
times its share of the mass (3) and its angular velocity (3), and the torques of the motors (17). Feet belong to
the shins. Goal: xyz of the torso in m. Action (17): torques.
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
from goalward.envs.core import Entry
from goalward.envs.mujoco import models
from goalward.envs.mujoco.ant import direction, pair_drawer
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import LARGEST, LONGEST, check

# 0.03 s a step, as what is in force in scaling-crl; 10 steps of 0.003 s take 1.7 times as long.
TIMESTEP, SUBSTEPS = 0.005, 6
VERSION = 2  # of all tasks here: since 2 contacts and observations are those of scaling-crl
QPOS, QVEL, LINKS, TORQUES = 24, 23, 11, 17
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
        check("humanoid", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              nearest_goal=(0, self.farthest_goal), farthest_goal=(0, 1e3), start_noise=(0, 0.1))  # fmt: skip


@dataclass(frozen=True)
class HumanoidMazeSettings:
    """Settings of the humanoid in a maze."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    start_noise: float = 0.01
    cell_size: float = 2.0  # m; walls are half as high

    def __post_init__(self):
        check("humanoid maze", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              start_noise=(0, 0.1), cell_size=(1.0, 100.0))  # fmt: skip


def humanoid(name: str, settings: HumanoidSettings) -> Task:
    """Walk to a point in any direction."""

    def places(key: PRNGKeyArray) -> tuple[Array, Array]:
        angle_key, distance_key = jax.random.split(key)
        distance = jax.random.uniform(
            distance_key, (), minval=settings.nearest_goal, maxval=settings.farthest_goal
        )
        return jnp.zeros(2), distance * direction(angle_key)

    return _task(name, humanoid_model(), settings, places)


def humanoid_maze(name: str, settings: HumanoidMazeSettings) -> Task:
    """Walk to a cell of a maze. The layout is what follows "humanoid_" in the name."""
    layout = mazes.parse(name.removeprefix("humanoid_"), GRIDS)._replace(cell_size=settings.cell_size)
    spec = humanoid_model()
    models.add_walls(spec, layout.walls, settings.cell_size, settings.cell_size / 2)
    return _task(name, spec, settings, pair_drawer(layout), layout)


def humanoid_model() -> mujoco.MjSpec:
    """Gymnasium's humanoid with scaling-crl's contacts: all of it meets ground and walls, none of it itself."""
    spec = models.gymnasium_model("humanoid", TIMESTEP)
    for geom in spec.geoms:
        geom.margin, geom.condim = 0.0, 3
        geom.contype, geom.conaffinity = (0, models.FOOT) if geom.name == "floor" else (models.FOOT, 0)
    return spec


def link_motion(cinert: Array, cvel: Array, bodies: list[list[int]]) -> tuple[Array, Array]:
    """Inertia (L, 9) and velocity (L, 6) of links, each of one or more bodies of one angular velocity.

    From MuJoCo's inertias (B, 10) and velocities (B, 6) about c, the centre of mass of all. An inertia is xx,
    yy, zz, xy, xz, yz, then m (x − c) (3) and m; a velocity is angular, then that of the point at c. Of a link,
    scaling-crl observes the matrix, then (m / M) v with v = v_c + ω × (x − c), then ω.
    """
    inertia = jnp.stack([cinert[jnp.array(link)].sum(0) for link in bodies])
    matrix = inertia[:, jnp.array([0, 3, 4, 3, 1, 5, 4, 5, 2])]
    moved = cvel[jnp.array([link[0] for link in bodies])]
    spin, mass = moved[:, :3], inertia[:, 9:]
    momentum = mass * moved[:, 3:] + jnp.cross(spin, inertia[:, 6:9])
    return matrix, jnp.concatenate([momentum / mass.sum(), spin], axis=-1)


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
    # MuJoCo's id of a body's link: bodies without joints, the feet, belong to the one that bears them.
    links = [np.flatnonzero(model.body_weldid == i).tolist() for i in np.unique(model.body_weldid) if i > 0]
    joint_order = np.argsort(model.actuator_trnid[:, 0])  # motors of the abdomen are not in that of the joints
    gear = jnp.asarray(model.actuator_gear[joint_order, 0], jnp.float32)

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
        inertia, velocity = link_motion(physics.cinert, physics.cvel, links)
        torque = gear * physics.ctrl[joint_order]
        return jnp.concatenate([physics.qpos, physics.qvel, inertia.ravel(), velocity.ravel(), torque])

    def terminated(physics: Physics) -> Array:
        return (physics.qpos[2] < HEALTHY_Z[0]) | (physics.qpos[2] > HEALTHY_Z[1])

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(wanted), settings.goal_threshold)]

    obs_dim = QPOS + QVEL + 15 * LINKS + TORQUES
    return Task(
        name=name,
        model=model,
        substeps=SUBSTEPS,
        spec=reach_spec(
            model, obs_dim, slice(0, 3), settings.episode_length, settings.goal_threshold, shifts=((0,), (1,))
        ),
        reset=reset,
        observe=observe,
        markers=markers,
        terminated=terminated,
        reads=("cinert", "cvel", "ctrl"),
        maze=maze,
        version=VERSION,
    )


TASKS = {
    "humanoid": Entry(humanoid, HumanoidSettings(), "mujoco"),
    **{f"humanoid_{layout}": Entry(humanoid_maze, HumanoidMazeSettings(), "mujoco") for layout in GRIDS},
}
