"""Joints of a model: their kinds and limits, and random postures within them."""

from collections.abc import Callable
from typing import NamedTuple

import mujoco
import numpy as np

# Written as numbers: MuJoCo's enumerations do not equal a model's integers.
FREE, BALL, SLIDE, HINGE = (
    int(getattr(mujoco.mjtJoint, f"mjJNT_{kind}")) for kind in ("FREE", "BALL", "SLIDE", "HINGE")
)
MANY = 2_000  # postures, of which goals are drawn
TRIES, HOLDS, HELD = 4, 50, 10  # times from the start, random controls each, steps of the model for each
STILL = 1e-5  # of a velocity, in m/s or rad/s
SIZES = {FREE: (7, 6), BALL: (4, 3), SLIDE: (1, 1), HINGE: (1, 1)}  # in qpos and qvel


class Joint(NamedTuple):
    """A joint of a model."""

    name: str
    kind: int
    body: int
    at: int  # its first element of qpos
    moves_at: int  # and of qvel
    limits: tuple[float, float] | None

    @property
    def size(self) -> int:
        """Elements of qpos."""
        return SIZES[self.kind][0]

    @property
    def winds(self) -> bool:
        """Whether it turns without end, so that its angle says less than its cosine and sine."""
        return self.kind == HINGE and self.limits is None


def joints(model: mujoco.MjModel) -> list[Joint]:
    """The joints of a model; those without a name are called by their number."""
    found = []
    for i in range(model.njnt):
        limits = tuple(model.jnt_range[i].tolist()) if model.jnt_limited[i] else None
        name = model.joint(i).name or str(i)
        kind, body = int(model.jnt_type[i]), int(model.jnt_bodyid[i])
        found.append(Joint(name, kind, body, int(model.jnt_qposadr[i]), int(model.jnt_dofadr[i]), limits))
    return found


def random_postures(model: mujoco.MjModel, number: int, random: np.random.Generator) -> np.ndarray:
    """Positions of all joints, (number, nq): hinges and slides within their limits, the rest as in the start.

    A hinge without limits may stand anywhere; a slide without limits stays.
    """
    postures = np.tile(model.qpos0, (number, 1))
    for joint in joints(model):
        if joint.kind not in (HINGE, SLIDE) or (joint.kind == SLIDE and joint.limits is None):
            continue
        low, high = joint.limits or (-np.pi, np.pi)
        postures[:, joint.at] = random.uniform(low, high, number)
    return postures


class Still(NamedTuple):
    """What random controls leave as it is."""

    positions: set[int]  # elements of qpos
    velocities: set[int]  # elements of qvel


def unmoved(model: mujoco.MjModel, start: np.ndarray) -> Still:
    """What random controls, from the positions `start` on, leave where it was, and at 0."""
    random, data = np.random.default_rng(0), mujoco.MjData(model)
    left, moved = np.zeros(model.nq, bool), np.zeros(model.nv, bool)
    for _ in range(TRIES):
        mujoco.mj_resetData(model, data)
        data.qpos[:] = start
        for _ in range(HOLDS):
            data.ctrl[:] = random.uniform(*model.actuator_ctrlrange.T)
            mujoco.mj_step(model, data, HELD)
            left |= data.qpos.astype(np.float32) != start.astype(np.float32)  # as observations have them
            moved |= np.abs(data.qvel) > STILL
    return Still(set(np.flatnonzero(~left).tolist()), set(np.flatnonzero(~moved).tolist()))


def places(
    model: mujoco.MjModel, read: Callable[[mujoco.MjData], np.ndarray], number: int = MANY, seed: int = 0
) -> np.ndarray:
    """What random postures reach, (number, G) float32: goals that can be reached.

    Joints are drawn evenly within their limits, hinges without limits from the whole circle; everything else is
    as in the model's start. `read` gives the goal of a posture, such as `lambda data: data.site("tip").xpos`.
    """
    data = mujoco.MjData(model)
    found = []
    for qpos in random_postures(model, number, np.random.default_rng(seed)):
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        found.append(np.array(read(data), np.float32))
    return np.stack(found)
