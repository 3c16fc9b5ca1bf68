"""The half cheetah, in a plane.

Observation (18): position, pitch and joint angles (9), their velocities (9). Goal: x in m. Action (6): torques.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs.core import Entry
from goalward.envs.mujoco import models
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import LARGEST, LONGEST, check

TIMESTEP, SUBSTEPS = 0.01, 5  # 0.05 s a step
VERSION = 2  # since 2 it weighs and touches as in JaxGCRL
TOTAL_MASS = 14.0 - 0.6311  # kg: JaxGCRL's model weighs 14, of which its goal, a body there, takes its share
UNTOUCHED = ("torso", "bshin", "fshin")  # geoms that sink through the ground, as there


@dataclass(frozen=True)
class CheetahSettings:
    """Settings of the half cheetah."""

    episode_length: int = 1000
    goal_threshold: float = 0.5  # m
    nearest_goal: float = 1.0  # m, forward or back; 5 and 5 with only_forward is JaxGCRL's one goal
    farthest_goal: float = 5.0
    only_forward: bool = False
    start_noise: float = 0.1  # uniform, of positions in m and rad; the deviation of velocities

    def __post_init__(self):
        check("cheetah", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              nearest_goal=(0, self.farthest_goal), farthest_goal=(0, 1e3), start_noise=(0, 0.2))  # fmt: skip


def cheetah(name: str, settings: CheetahSettings) -> Task:
    """Run to a place on a line."""
    spec = models.gymnasium_model("half_cheetah", TIMESTEP)
    spec.compiler.settotalmass = -1.0  # the attribute is on its way out
    for name in UNTOUCHED:
        spec.geom(name).contype = 0
    model = spec.compile()
    mujoco.mj_setTotalmass(model, TOTAL_MASS)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    posture = jnp.asarray(models.initial_qpos(model))

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        qpos_key, qvel_key, goal_key, side_key = jax.random.split(key, 4)
        noise = jax.random.uniform(qpos_key, posture.shape, minval=-1.0, maxval=1.0)
        qvel = settings.start_noise * jax.random.normal(qvel_key, posture.shape)
        goal = jax.random.uniform(goal_key, (1,), minval=settings.nearest_goal, maxval=settings.farthest_goal)
        forward = jax.random.bernoulli(side_key) | settings.only_forward
        return Start(posture + settings.start_noise * noise, qvel), jnp.where(forward, goal, -goal)

    def observe(physics: Physics) -> Array:
        return jnp.concatenate([physics.qpos, physics.qvel])

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(np.array([wanted[0], 0.0, 0.5]), settings.goal_threshold)]

    obs_dim = int(model.nq) + int(model.nv)
    spec = reach_spec(
        model, obs_dim, slice(0, 1), settings.episode_length, settings.goal_threshold, shifts=((0,),)
    )
    return Task(name, model, SUBSTEPS, spec, reset, observe, markers, version=VERSION)


TASKS = {"cheetah": Entry(cheetah, CheetahSettings(), "mujoco")}
