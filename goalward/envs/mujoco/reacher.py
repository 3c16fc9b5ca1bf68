"""The reacher: an arm of two links in a plane.

Observation (10): cosines and sines of both angles (4), position (3) and velocity (3) of the fingertip, whose z
never changes. Goal: position of the fingertip in m. Action (2): torques.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs.core import Entry
from goalward.envs.mujoco import models
from goalward.envs.mujoco.ant import direction
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import LARGEST, LONGEST, check

TIMESTEP, SUBSTEPS = 0.01, 4  # 0.04 s a step, as what is in force in scaling-crl
VERSION = 2  # since 2 its gear is 25
GEAR = 25.0  # N m at an action of 1, as in force in scaling-crl; Gymnasium's and JaxGCRL's is 200
FINGERTIP_Z = 0.01


@dataclass(frozen=True)
class ReacherSettings:
    """Settings of the reacher."""

    episode_length: int = 1000
    goal_threshold: float = 0.05  # m
    goal_radius: float = 0.2  # m: goals are nearer to the shoulder, uniform in distance and angle
    start_noise: float = 0.1  # uniform, of angles in rad

    def __post_init__(self):
        check("reacher", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST),
              goal_radius=(0, 0.21), start_noise=(0, np.pi))  # fmt: skip


def reacher(name: str, settings: ReacherSettings) -> Task:
    """Bring the fingertip to a place."""
    spec = models.gymnasium_model("reacher", TIMESTEP)
    models.remove_body(spec, "target")
    for motor in spec.actuators:
        motor.gear = [GEAR, 0, 0, 0, 0, 0]
    for sensor in ("framepos", "framelinvel"):
        models.add_sensor(spec, sensor, mujoco.mjtObj.mjOBJ_BODY, "fingertip")
    model = spec.compile()

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        angle_key, velocity_key, goal_key, radius_key = jax.random.split(key, 4)
        qpos = settings.start_noise * jax.random.uniform(angle_key, (2,), minval=-1.0, maxval=1.0)
        qvel = jax.random.uniform(velocity_key, (2,), minval=-0.005, maxval=0.005)
        radius = settings.goal_radius * jax.random.uniform(radius_key)
        return Start(qpos, qvel), jnp.append(radius * direction(goal_key), FINGERTIP_Z)

    def observe(physics: Physics) -> Array:
        assert physics.sensordata is not None  # noqa: S101  # the task reads it
        return jnp.concatenate([jnp.cos(physics.qpos), jnp.sin(physics.qpos), physics.sensordata])

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(wanted), settings.goal_threshold)]

    task_spec = reach_spec(model, 10, slice(4, 7), settings.episode_length, settings.goal_threshold)
    return Task(
        name,
        model,
        SUBSTEPS,
        task_spec,
        reset,
        observe,
        markers,
        reads=("sensordata",),
        constant=(6, 9),
        version=VERSION,
    )


TASKS = {"reacher": Entry(reacher, ReacherSettings(), "mujoco")}
