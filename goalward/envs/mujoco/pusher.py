"""The pusher: an arm of seven joints that slides one or two cylinders over a table.

Observation: joint angles (7), position of the arm's tip (3), of each cylinder (3), joint velocities (7).
Goal: positions of the cylinders in m, whose z never changes. Action (7): torques.
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
VERSION = 2  # of all tasks here: since 2 the wrist alone touches
JOINTS = 7
OBJECT_Z = -0.275
OBJECT_MASS = 0.0018  # kg; the armature of its joints, 0.04 kg, weighs more
NEAREST_GOAL = 0.17  # m from where the cylinder starts

Box = tuple[tuple[float, float], tuple[float, float]]  # (low, high) of x, then of y, in m
# Gymnasium's cylinder starts around (0.45, −0.05) and slides along y first: so are the ranges of JaxGCRL meant.
START: Box = ((0.25, 0.65), (-0.35, -0.05))
GOALS: dict[str, Box] = {
    "pusher_easy": ((0.25, 0.65), (-0.6, -0.3)),
    "pusher_hard": ((-0.1, 0.9), (-0.7, 0.3)),
}
# Of JaxGCRL's pusher2: each cylinder has its half of the table.
TWO_STARTS: tuple[Box, Box] = (((0.25, 0.45), (-0.35, -0.05)), ((0.45, 0.65), (-0.35, -0.05)))
TWO_GOALS: tuple[Box, Box] = (((-0.15, 0.375), (-0.7, 0.3)), ((0.375, 0.9), (-0.7, 0.3)))


@dataclass(frozen=True)
class PusherSettings:
    """Settings of the pusher."""

    episode_length: int = 1000
    goal_threshold: float = 0.1  # m, from each cylinder

    def __post_init__(self):
        check("pusher", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST))


def pusher(name: str, settings: PusherSettings) -> Task:
    """Push a cylinder to a place."""
    return _task(name, settings, [START], [GOALS[name]])


def pusher2(name: str, settings: PusherSettings) -> Task:
    """Push two cylinders, each to its place."""
    return _task(name, settings, list(TWO_STARTS), list(TWO_GOALS))


def _task(name: str, settings: PusherSettings, starts: list[Box], goals: list[Box]) -> Task:
    model = _model(len(starts))
    tip = int(model.body("tips_arm").id)
    number = len(starts)

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        start_key, goal_key, velocity_key = jax.random.split(key, 3)
        objects, wanted = draw_in(starts, start_key), draw_in(goals, goal_key)
        away = wanted - objects
        distance = jnp.maximum(jnp.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        wanted = objects + away * jnp.maximum(1.0, NEAREST_GOAL / distance)
        qvel = jax.random.uniform(velocity_key, (JOINTS,), minval=-0.005, maxval=0.005)
        start = Start(
            jnp.concatenate([jnp.zeros(JOINTS), objects.ravel()]),
            jnp.concatenate([qvel, jnp.zeros(2 * number)]),
        )
        return start, on_table(wanted).ravel()

    def on_table(xy: Array) -> Array:
        return jnp.concatenate([xy, jnp.full((number, 1), OBJECT_Z)], axis=-1)

    def observe(physics: Physics) -> Array:
        assert physics.xpos is not None  # noqa: S101  # the task reads it
        objects = on_table(physics.qpos[JOINTS:].reshape(number, 2))
        return jnp.concatenate(
            [physics.qpos[:JOINTS], physics.xpos[tip], objects.ravel(), physics.qvel[:JOINTS]]
        )

    def distance(achieved: Array, wanted: Array) -> Array:
        """The farther one's."""
        apart = (achieved - wanted).reshape(*achieved.shape[:-1], number, 3)
        return jnp.max(jnp.linalg.norm(apart, axis=-1), axis=-1)

    def markers(wanted: np.ndarray) -> list[Marker]:
        return [Marker(place, settings.goal_threshold) for place in np.reshape(wanted, (number, 3))]

    obs_dim, first = 2 * JOINTS + 3 + 3 * number, JOINTS + 3
    goal = slice(first, first + 3 * number)
    spec = reach_spec(model, obs_dim, goal, settings.episode_length, settings.goal_threshold)
    spec = spec._replace(distance=distance)
    heights = tuple(first + 3 * i + 2 for i in range(number))
    return Task(
        name, model, SUBSTEPS, spec, reset, observe, markers, reads=("xpos",), constant=heights, version=VERSION
    )


def draw_in(boxes: list[Box], key: PRNGKeyArray) -> Array:
    """A point in each of some boxes, uniform, (boxes, 2)."""
    low, high = jnp.asarray(np.moveaxis(np.array(boxes), -1, 0), jnp.float32)
    return jax.random.uniform(key, low.shape, minval=low, maxval=high)


def _model(objects: int) -> mujoco.MjModel:
    """Gymnasium's arm and table, with cylinders of ours, whose joints are their xy in m.

    As in JaxGCRL the arm's wrist touches the table and the cylinders, with friction; nothing else touches.
    """
    spec = models.gymnasium_model("pusher_v5", TIMESTEP)
    models.remove_body(spec, "goal")
    models.remove_body(spec, "object")
    for geom in spec.geoms:
        geom.condim = 3
        if geom.contype:
            in_wrist = geom.parent.name == "r_wrist_roll_link"
            geom.contype, geom.conaffinity = (0, 1) if in_wrist else (1, 0)
    for number in range(1, objects + 1):
        body = spec.worldbody.add_body(name=f"object{number}", pos=[0.0, 0.0, OBJECT_Z])
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[0.05, 0.05, 0.0],
            mass=OBJECT_MASS,
            rgba=[0.85, 0.33, 0.2, 1.0] if number == 1 else [0.2, 0.45, 0.75, 1.0],
            condim=3,
            contype=1,
            conaffinity=0,
        )
        for axis, vector in (("x", [1, 0, 0]), ("y", [0, 1, 0])):
            joint = body.add_joint(name=f"object{number}_{axis}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=vector)
            joint.damping, joint.armature, joint.limited = (
                [0.5, 0.0, 0.0],
                0.04,
                mujoco.mjtLimited.mjLIMITED_FALSE,
            )
    return spec.compile()


TASKS = {
    "pusher_easy": Entry(pusher, PusherSettings(), "mujoco"),
    "pusher_hard": Entry(pusher, PusherSettings(), "mujoco"),
    "pusher2": Entry(pusher2, PusherSettings(), "mujoco"),
}
