"""The ant: alone, with a ball, with a block to push, and in mazes.

Observation: position, orientation and joint angles of the ant (15), their velocities (14), then xy of what
else moves (2). Goal: xy in m, of the ant's torso or of the ball. Action (8): torques.
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
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import LARGEST, LONGEST, check

# 0.05 s a step. At Gymnasium's 0.01 s a random ant would fall over after 38 steps, by RK4 after 57, so after 59
# (`python -m benchmarks.integrators`).
TIMESTEP, SUBSTEPS = 0.005, 10
QPOS, QVEL = 15, 14
HEALTHY_Z = (0.2, 1.0)  # the torso's height, outside of which an episode ends
FOOT_RADIUS = 0.08
VERSION = 3  # of all tasks here: since 2 only feet touch the ground, since 3 Brax's ants have no armature
BALL_RADIUS = 0.5
GEAR = 150.0  # N m of a motor's torque at its bounds, as in Gymnasium's ant.xml
_GEARS = (1.0, 1e3)
WELDED_MASS = 1e-3  # kg

# Mazes with a ball of JaxGCRL: B is where the ball starts.
BALL_GRIDS = {
    "ball_u_maze": "##### #RGB# ###G# #GGG# #####",
    "ball_big_maze": "######## #R.##GG# #..#GGG# ##BGB### #GG#GGG# #G#GG#G# #GGG#GG# ########",
}
# The place of scaling-crl's ant_push, in cells of 8 m around cell (1, 1): M is the block, G the two goals.
PUSH_GRID = "##### #R.## #.MG# ##G## #####"
PUSH_CELL = 8.0


@dataclass(frozen=True)
class AntSettings:
    """Settings of the ant on open ground."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    goal_distance: float = 10.0  # m from the middle, on a circle
    start_noise: float = 0.1  # uniform, of positions in m and rad; the deviation of velocities
    gear: float = GEAR  # N m
    brax_inertia: bool = False  # each link 1 kg and 1 kg m², as in Brax's spring physics: it hardly falls

    def __post_init__(self):
        check("ant", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              goal_distance=(0, 1e3), start_noise=(0, 0.2), gear=_GEARS)  # fmt: skip


@dataclass(frozen=True)
class AntBallSettings:
    """Settings of the ant with a ball."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m, from the ball
    goal_distance: float = 5.0  # m from the middle, on a circle
    start_noise: float = 0.1
    gear: float = GEAR
    brax_inertia: bool = False
    shifted_goal: bool = False  # parity: compare observations 28 and 29 with the goal, as scaling-crl does

    def __post_init__(self):
        check("ant_ball", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              goal_distance=(0, 1e3), start_noise=(0, 0.2), gear=_GEARS)  # fmt: skip


@dataclass(frozen=True)
class AntPlaceSettings:
    """Settings of the ant among walls."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    start_noise: float = 0.1
    gear: float = GEAR
    brax_inertia: bool = False

    def __post_init__(self):
        check("ant", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST), start_noise=(0, 0.2),
              gear=_GEARS)  # fmt: skip


@dataclass(frozen=True)
class AntMazeSettings:
    """Settings of the ant in a maze."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    start_noise: float = 0.1
    gear: float = GEAR
    brax_inertia: bool = False
    cell_size: float = 4.0  # m; walls are half as high

    def __post_init__(self):
        check("ant maze", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              start_noise=(0, 0.2), gear=_GEARS, cell_size=(2.0, 100.0))  # fmt: skip


def ant(name: str, settings: AntSettings) -> Task:
    """Walk to a point on a circle around the middle."""

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        return jnp.zeros(2), jnp.zeros(0), settings.goal_distance * direction(key)

    return _task(name, ant_model(), settings, places)


def ant_random_start(name: str, settings: AntSettings) -> Task:
    """Walk to a point on a circle around the middle from anywhere on a circle around that point."""

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        goal_key, start_key = jax.random.split(key)
        goal = settings.goal_distance * direction(goal_key)
        return goal + settings.goal_distance * direction(start_key), jnp.zeros(0), goal

    return _task(name, ant_model(), settings, places)


def ant_ball(name: str, settings: AntBallSettings) -> Task:
    """Bring a ball to a point on a circle; it starts 1 m around a fifth of the way there."""
    spec = ant_model()
    _add_ball(spec)

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        goal_key, ball_key = jax.random.split(key)
        goal = settings.goal_distance * direction(goal_key)
        return jnp.zeros(2), 0.2 * goal + direction(ball_key), goal

    first = QPOS + QVEL - (1 if settings.shifted_goal else 0)
    goal, shifts = slice(first, first + 2), not settings.shifted_goal
    return _task(name, spec, settings, places, goal=goal, height=BALL_RADIUS, shifts=shifts)


def ant_push(name: str, settings: AntPlaceSettings) -> Task:
    """Get past a block that must be pushed out of the way, to one of two places behind it."""
    spec = ant_model()
    grid = PUSH_GRID.split()
    walls = mazes.walls_of(grid)
    models.add_walls(spec, walls, PUSH_CELL, PUSH_CELL / 2)
    # The original's block weighs 0.2 g, which no contact of MuJoCo's takes well; damping stands for the ground.
    _add_slider(spec, "block", PUSH_CELL * 2, mujoco.mjtGeom.mjGEOM_BOX, [3.6, 3.6, 1.8], 1.8, 0.5, damping=1.0)
    goals = jnp.asarray(mazes.cells(grid, "G"), jnp.float32) * PUSH_CELL

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        goal_key, noise_key = jax.random.split(key)
        goal = goals[jax.random.randint(goal_key, (), 0, 2)] + jax.random.uniform(noise_key, (2,), maxval=2.0)
        return jnp.full(2, PUSH_CELL), jnp.zeros(2), goal

    no_pairs = np.zeros((0, 2, 2), int)
    maze = mazes.Maze(name, walls, no_pairs, np.zeros(0), PUSH_CELL)
    offset = jnp.full(2, 2 * PUSH_CELL)  # the block's joints are 0 in the middle of cell (2, 2)
    task = _task(name, spec, settings, places, maze=maze, object_offset=offset)
    return task._replace(constant=(QPOS + QVEL, QPOS + QVEL + 1))  # the block, which no random walk reaches


def ant_maze(name: str, settings: AntMazeSettings) -> Task:
    """Walk to a cell of a maze. The layout is what follows "ant_" in the name."""
    layout = mazes.parse(name.removeprefix("ant_"))._replace(cell_size=settings.cell_size)
    spec = ant_model()
    models.add_walls(spec, layout.walls, settings.cell_size, settings.cell_size / 2)
    draw = pair_drawer(layout)

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        start, goal = draw(key)
        return start, jnp.zeros(0), goal

    return _task(name, spec, settings, places, maze=layout)


def ant_ball_maze(name: str, settings: AntMazeSettings) -> Task:
    """Bring a ball to a cell of a maze: `ant_ball_maze`, the U, or `ant_ball_big_maze`."""
    key_of_grid = "ball_big_maze" if "big" in name else "ball_u_maze"
    layout = mazes.parse(key_of_grid, BALL_GRIDS)._replace(name=name, cell_size=settings.cell_size)
    spec = ant_model()
    models.add_walls(spec, layout.walls, settings.cell_size, settings.cell_size / 2)
    _add_ball(spec)
    draw = pair_drawer(layout)
    balls = jnp.asarray(mazes.cells(BALL_GRIDS[key_of_grid].split(), "B"), jnp.float32) * settings.cell_size

    def places(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        pair_key, ball_key = jax.random.split(key)
        start, goal = draw(pair_key)
        return start, balls[jax.random.randint(ball_key, (), 0, len(balls))], goal

    ball = (QPOS + QVEL, QPOS + QVEL + 1)
    goal = slice(ball[0], ball[1] + 1)
    task = _task(name, spec, settings, places, goal=goal, height=BALL_RADIUS, maze=layout)
    return task._replace(constant=ball)  # it lies farther away than random walks lead


def ant_model() -> mujoco.MjSpec:
    """Gymnasium's ant with scaling-crl's contacts: only its feet, spheres at the ankles' tips, meet the ground.

    Torso and legs touch walls, balls and blocks, and sink through the ground. So an ant that tips over leaves
    the healthy heights within some steps, where one with a solid back could lie until the time limit.
    """
    spec = models.gymnasium_model("ant", TIMESTEP)
    ankles = [geom for geom in spec.geoms if geom.name.endswith("ankle_geom")]
    for geom in spec.geoms:
        geom.margin = 0.0
        if geom.name != "floor":
            geom.contype, geom.conaffinity = models.BODY, 0
    spec.geom("floor").contype, spec.geom("floor").conaffinity = 0, models.FOOT
    for geom in ankles:
        name = geom.name.replace("ankle", "foot")
        tip = geom.fromto[3:]
        sphere = mujoco.mjtGeom.mjGEOM_SPHERE
        foot = geom.parent.add_geom(name=name, type=sphere, pos=tip, size=[FOOT_RADIUS, 0, 0], mass=0.0)
        foot.contype, foot.conaffinity, foot.margin = models.FOOT, 0, 0.0
    return spec


def _set_brax_inertia(model: mujoco.MjModel) -> None:
    """Give each of an ant's 9 moving links the mass and inertia that Brax gives it, about its centre of mass.

    Links that do not move against their parents are part of them there; here they keep next to nothing. The
    inertia of motors at its joints (armature, 1 kg m²) has no part in Brax's spring physics.
    """
    links = range(model.body("torso").id, model.nbody)
    for link in links:
        if model.body_rootid[link] != model.body("torso").id:
            continue  # what an ant moves
        moves = model.body_jntnum[link] > 0
        model.body_mass[link] = 1.0 if moves else WELDED_MASS
        model.body_inertia[link] = 1.0 if moves else WELDED_MASS * 1e-2
    model.dof_armature[6:QVEL] = 0.0
    mujoco.mj_setConst(model, mujoco.MjData(model))


def pair_drawer(maze: mazes.Maze) -> Callable[[PRNGKeyArray], tuple[Array, Array]]:
    """Make the function that draws start and goal of an episode in a maze, both xy (2,) in m."""
    pairs = jnp.asarray(maze.pairs, jnp.float32) * maze.cell_size
    log_weights = jnp.log(jnp.asarray(maze.weights, jnp.float32))

    def draw(key: PRNGKeyArray) -> tuple[Array, Array]:
        start, goal = pairs[jax.random.categorical(key, log_weights)]
        return start, goal

    return draw


def direction(key: PRNGKeyArray) -> Array:
    """A point of the unit circle, (2,)."""
    angle = jax.random.uniform(key, (), maxval=2 * jnp.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _task(
    name: str,
    spec: mujoco.MjSpec,
    settings: Any,
    places: Callable[[PRNGKeyArray], tuple[Array, Array, Array]],
    goal: slice = slice(0, 2),
    height: float = 0.5,
    maze: mazes.Maze | None = None,
    object_offset: Array | None = None,
    shifts: bool = True,
) -> Task:
    """Build a task from where things are.

    `places` gives xy of the ant, of what it moves (or none), and of the goal. `goal` is its part of the
    observation, `height` in m where it is shown, `object_offset` (2,) where the object is at joints of 0;
    `shifts` says whether ant, object and goal may be moved together (`EnvSpec.shifts`).
    """
    for motor in spec.actuators:
        motor.gear[0] = settings.gear
    model = spec.compile()
    if settings.brax_inertia:
        _set_brax_inertia(model)
    posture = jnp.asarray(models.initial_qpos(model)[:QPOS])
    things = int(model.nq) - QPOS
    offset = jnp.zeros(things) if object_offset is None else object_offset
    spread = settings.start_noise * np.ones(QPOS, np.float32)
    if maze is not None and maze.exact_starts:
        spread[:2] = 0.0

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        place_key, qpos_key, qvel_key = jax.random.split(key, 3)
        here, thing, wanted = places(place_key)
        noise = jax.random.uniform(qpos_key, (QPOS,), minval=-1.0, maxval=1.0) * spread
        qpos = (posture + noise).at[:2].add(here)
        qpos = qpos.at[3:7].divide(jnp.linalg.norm(qpos[3:7]))
        qvel = jax.random.normal(qvel_key, (QVEL,)) * settings.start_noise
        return Start(jnp.concatenate([qpos, thing]), jnp.concatenate([qvel, jnp.zeros(things)])), wanted

    def observe(physics: Physics) -> Array:
        return jnp.concatenate([physics.qpos[:QPOS], physics.qvel[:QVEL], physics.qpos[QPOS:] + offset])

    def terminated(physics: Physics) -> Array:
        return (physics.qpos[2] < HEALTHY_Z[0]) | (physics.qpos[2] > HEALTHY_Z[1])

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(np.array([*wanted, height]), settings.goal_threshold)]

    obs_dim = QPOS + QVEL + things
    positions = tuple((axis, *range(QPOS + QVEL + axis, obs_dim, 2)) for axis in (0, 1))  # of ant and object
    moved = positions if shifts else ()
    return Task(
        name=name,
        model=model,
        substeps=SUBSTEPS,
        spec=reach_spec(model, obs_dim, goal, settings.episode_length, settings.goal_threshold, shifts=moved),
        reset=reset,
        observe=observe,
        markers=markers,
        terminated=terminated,
        maze=maze,
        version=VERSION,
    )


def _add_ball(spec: mujoco.MjSpec) -> None:
    # 0.576 kg: the two spheres of density 1 and 0.1 that make the original's ball.
    size = [BALL_RADIUS, 0.0, 0.0]
    _add_slider(spec, "ball", 0.0, mujoco.mjtGeom.mjGEOM_SPHERE, size, BALL_RADIUS, 0.576, damping=0.0)


def _add_slider(
    spec: mujoco.MjSpec,
    name: str,
    at: float,
    shape: Any,
    size: list[float],
    z: float,
    mass: float,
    damping: float,
) -> None:
    """Add a thing that slides along x and y from (`at`, `at`); it meets ants and walls, not the ground."""
    body = spec.worldbody.add_body(name=name, pos=[at, at, z])
    geom = body.add_geom(name=name, type=shape, size=size, mass=mass, rgba=[0.85, 0.33, 0.2, 1.0])
    geom.contype, geom.conaffinity = models.BODY, models.BODY | models.FOOT
    for axis, vector in (("x", [1, 0, 0]), ("y", [0, 1, 0])):
        joint = body.add_joint(name=f"{name}_{axis}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=vector)
        joint.damping, joint.armature, joint.limited = (
            [damping, 0.0, 0.0],
            0.0,
            mujoco.mjtLimited.mjLIMITED_FALSE,
        )


TASKS = {
    "ant": Entry(ant, AntSettings(), "open_ant"),
    "ant_random_start": Entry(ant_random_start, AntSettings(), "open_ant"),
    "ant_ball": Entry(ant_ball, AntBallSettings(), "open_ant"),
    "ant_push": Entry(ant_push, AntPlaceSettings(), "ant"),
    "ant_ball_maze": Entry(ant_ball_maze, AntMazeSettings(), "ant"),
    "ant_ball_big_maze": Entry(ant_ball_maze, AntMazeSettings(), "ant"),
    **{f"ant_{layout}": Entry(ant_maze, AntMazeSettings(), "ant") for layout in mazes.GRIDS},
}
