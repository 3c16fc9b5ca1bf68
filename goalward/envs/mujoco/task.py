"""What a task on MuJoCo is: a model and a few pure JAX functions of one world, which know no engine."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs.core import euclidean
from goalward.envs.maze import Maze
from goalward.types import EnvSpec


class Physics(NamedTuple):
    """What a task may read of one world, in float32; what it did not ask for is None.

    Lengths in m, angles in rad, time in s; shapes by MuJoCo's sizes nq, nv, nu, nbody, nsite, nsensordata.
    """

    qpos: Array  # (nq,)
    qvel: Array  # (nv,)
    ctrl: Array | None = None  # (nu,) of the step that led here, 0 at the start
    xpos: Array | None = None  # (nbody, 3)
    xquat: Array | None = None  # (nbody, 4)
    site_xpos: Array | None = None  # (nsite, 3)
    sensordata: Array | None = None  # (nsensordata,)
    cinert: Array | None = None  # (nbody, 10) inertia about the centre of mass of the whole tree
    cvel: Array | None = None  # (nbody, 6) velocity, angular before linear


class Start(NamedTuple):
    """What an episode starts from; everything else is as in a fresh MuJoCo simulation."""

    qpos: Array  # (nq,)
    qvel: Array  # (nv,)


class Marker(NamedTuple):
    """A sphere that shows a goal in pictures."""

    position: np.ndarray  # (3,)
    radius: float


class Task(NamedTuple):
    """A model and what is to be done in it: pure JAX functions of one world, which know no engine."""

    name: str
    model: mujoco.MjModel
    substeps: int  # of the model's time step, in a step of the environment
    spec: EnvSpec
    reset: Callable[[PRNGKeyArray], tuple[Start, Array]]  # key -> (start, goal (G,))
    observe: Callable[[Physics], Array]  # -> (D,)
    markers: Callable[[np.ndarray], list[Marker]]  # goal (G,) -> what shows it
    terminated: Callable[[Physics], Array] = lambda _: jnp.zeros((), bool)
    # (physics, action (A,) in [−1, 1]) -> (nu,); by default an actuator's range for each action
    control: Callable[[Physics, Array], Array] | None = None
    follow: Callable[[Physics, Array], Array] | None = None  # (physics, goal) -> goal, each step
    reads: tuple[str, ...] = ()  # fields of `Physics` besides qpos and qvel
    constant: tuple[int, ...] = ()  # of the observation, what random actions seldom or never change
    maze: Maze | None = None
    version: int = 1  # raised whenever the same actions lead to other rows


def reach_spec(
    model: mujoco.MjModel,
    obs_dim: int,
    goal: slice,
    episode_length: int,
    threshold: float,
    action_dim: int | None = None,
    shifts: tuple[tuple[int, ...], ...] = (),
) -> EnvSpec:
    """Sizes of a task whose goal is a part of the observation.

    It is reached nearer than `threshold` to it, in m, by Euclidean distance. `shifts`: see `EnvSpec`.
    """
    return EnvSpec(
        obs_dim=obs_dim,
        action_dim=int(model.nu) if action_dim is None else action_dim,
        goal_dim=goal.stop - goal.start,
        episode_length=episode_length,
        achieved=lambda obs: obs[..., goal],
        distance=euclidean,
        threshold=threshold,
        shifts=shifts,
    )
