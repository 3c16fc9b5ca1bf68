"""Which joints the elements of a task's observation are, found by moving joints and looking what changes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array

from goalward.envs.mujoco import postures
from goalward.envs.mujoco.task import Physics, Task

TURN = 2 * np.pi
LEAST_CHANGE = 1e-2  # by a turn; rounding makes 1e-4 of it in the cosine of an angle of 100 turns


def element_names(task: Task, physics: Physics) -> dict[int, str]:
    """Name elements of the observation that are numbers of MuJoCo's `qpos` or `qvel`, or off by a constant.

    Each number is moved by an amount of its own, and found again by it.
    """
    names, observe = _state_names(task.model), jax.jit(task.observe)
    by = np.linspace(0.5, 1.0, len(names), endpoint=False, dtype=np.float32)
    positions, velocities = np.split(by, [task.model.nq])
    moved = physics._replace(qpos=physics.qpos + positions, qvel=physics.qvel + velocities)
    change = np.asarray(observe(moved) - observe(physics))
    near = np.abs(change[:, None] - by) < LEAST_CHANGE / len(names)
    return {int(e): names[int(np.flatnonzero(near[e])[0])] for e in np.flatnonzero(near.any(axis=-1))}


class Winding(NamedTuple):
    """A number that is another one after each whole turn of a hinge, though the world is the same."""

    joint: str
    turn: float  # by how much


def wound_up(task: Task, physics: Physics) -> dict[int, Winding]:
    """Elements of the observation that a whole turn of a hinge without limits changes.

    An angle is changed by it, its cosine and sine are not.
    """
    model, found, observe = task.model, {}, jax.jit(task.observe)
    for number, joint in enumerate(postures.joints(model)):
        if joint.winds:
            changes = np.asarray(observe(_turned(model, physics, number)) - observe(physics))
            for element in np.flatnonzero(np.abs(changes) > LEAST_CHANGE):
                found[int(element)] = Winding(joint.name, float(np.abs(changes[element])))
    return found


def _turned(model: Any, physics: Physics, joint: int) -> Physics:
    """The same world with a joint turned once, in `qpos` and in what sensors say of its angle."""
    turned = physics._replace(qpos=_plus_turn(physics.qpos, int(model.jnt_qposadr[joint])))
    if physics.sensordata is None:
        return turned
    readings = physics.sensordata
    for sensor in range(model.nsensor):
        is_angle = int(model.sensor_type[sensor]) == int(mujoco.mjtSensor.mjSENS_JOINTPOS)
        if is_angle and int(model.sensor_objid[sensor]) == joint:
            readings = _plus_turn(readings, int(model.sensor_adr[sensor]))
    return turned._replace(sensordata=readings)


def _plus_turn(numbers: Array, at: int) -> Array:
    return jnp.asarray(numbers).at[at].add(TURN)


def _state_names(model: Any) -> list[str]:
    """Of each number in `qpos`, then of each in `qvel`."""
    positions, velocities = [""] * int(model.nq), [""] * int(model.nv)
    for joint in postures.joints(model):
        of_positions, of_velocities = postures.SIZES[joint.kind]
        for names, what, first, size in (
            (positions, "position", joint.at, of_positions),
            (velocities, "velocity", joint.moves_at, of_velocities),
        ):
            for i in range(size):
                number = f" {i}" if size > 1 else ""
                names[first + i] = f"{what}{number} of joint {joint.name}"
    return positions + velocities
