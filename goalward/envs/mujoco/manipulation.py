"""Tasks of a Franka Panda at a table: reach a point, grasp a cube, push it, carry it from bin to bin.

Observation of reach (13): angles of the seven joints, position and velocity of the end-effector, which lies
midway between the fingertips. Others put the position of the cube before it, and after it how far the fingers
are apart (17), or the positions of the left and right fingertip and the distance between these two (23).
Action: where joints 1, 2, 4 and 6 are to go (4), and the gripper but for reach (1), which closes when > 0.
Lengths in m, angles in rad, velocities in m/s.

Places, postures, angles and rules of success are those of JaxGCRL (envs/manipulation and envs/assets) and of
scaling-crl, which builds on it; what differs says why.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs.core import Entry
from goalward.envs.mujoco import models, panda
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec
from goalward.envs.settings import LARGEST, LONGEST, check

# 0.05 s a step, as the 0.002 s × 25 of JaxGCRL. Measured with 512 worlds and 60 random actions: 2.2 to 2.6
# times as fast, and cubes fly no higher (99 in 100 below 0.05 m). With 0.01 s × 5 they do, and a scripted hand
# lets them slip.
TIMESTEP, SUBSTEPS = 0.005, 10
VERSION = 2  # of all tasks here: since 2 the hand touches the walls of bins, and the arm is that of JaxGCRL

MOVED = (0, 1, 3, 5)  # joints that actions move: 1, 2, 4 and 6
# At the start the hand is above the table in front of the arm, which looks along +y.
START_ANGLES = (1.571, 0.742, 0.0, -1.571, 0.0, 3.054, 1.449)
# Where the other joints are held. Joint 7 so turns by 0.72 in the first steps, as it does in JaxGCRL.
HELD_ANGLES = (*START_ANGLES[:6], 0.7244)
START_FINGERS = 0.04  # each, out of the middle
# Lowest and highest angles that actions send joints to. JaxGCRL commands −3.0718 … −0.0698 for joint 4, 2.3562
# … 3.7525 for joint 6, 1.4487 for joint 7, by drives whose gain for the command is 4/7 (joint 4) or 1/2 of that
# for the angle. These are the angles that this comes to, within the limits; the hand looks down at the cubes.
CUBE_TARGETS = ((0.3491, 2.7925), (0.0, 1.48353), (-1.7553, -0.0698), (1.1781, 1.87625))
# With those, 3 goals of reach in 100 would be farther than its threshold from all places the fingertips get to.
REACH_TARGETS = (*CUBE_TARGETS[:2], panda.LINKS[3].limits, panda.LINKS[5].limits)

CUBE_HALF = 0.03
WALL_HALF_HEIGHT, WALL_HALF_WIDTH = 0.033, 0.005
# Contype of each. Hand and fingers touch them all: an open hand finds no room beside a wall.
TABLE, WALL, CUBE = 1, 2, 4
BIN_IMPRATIO = 10.0  # how much stiffer friction is than contact where there are bins, as in JaxGCRL

REACH_CENTRE, REACH_HALF = (0.0, 0.5, 0.3), 0.2
GRASP_CENTRE, GRASP_HALF = (0.0, 0.6), 0.3
# Where grasping wants the fingertips: to the left and right of the cube's middle, and how far apart.
GRASP_OFFSET, GRASP_OPENNESS = 0.0375, 0.075
OPENNESS_TOLERANCE = 0.02

READS = ("site_xpos", "sensordata")

Targets = tuple[tuple[float, float], ...]  # lowest and highest angle of each joint that moves

BLUE, RED, GREEN = (0.30, 0.50, 0.80, 1.0), (0.80, 0.40, 0.35, 1.0), (0.20, 0.60, 0.35, 1.0)
TABLE_COLOUR = (0.82, 0.80, 0.77, 1.0)


@dataclass(frozen=True)
class ArmSettings:
    """Settings of the tasks of the arm."""

    episode_length: int = 1000
    goal_threshold: float = 0.1  # m, of the end-effector, the cube or the point between the fingertips
    start_noise: float = 0.01  # rad, uniform, of the joints that move; 0 in JaxGCRL

    def __post_init__(self):
        check("arm", self, episode_length=(1, LONGEST), goal_threshold=(1e-9, LARGEST), start_noise=(0, 0.5))


class Places(NamedTuple):
    """Squares on the table in which cubes start and in which they are wanted, uniformly."""

    start: tuple[float, float]  # centre, as that of its bin
    goal: tuple[float, float]
    half: float  # of both squares
    bin_half: float | None = None  # from the middle of a bin to that of its walls


PLACES = {
    "arm_push_easy": Places((-0.1, 0.6), (0.1, 0.6), 0.1),
    "arm_push_hard": Places((-0.25, 0.65), (0.25, 0.65), 0.25),
    # JaxGCRL centres the first bin on x = −0.17: there a cube that starts farthest to the right is in its wall.
    "arm_binpick_easy": Places((-0.15, 0.6), (0.17, 0.6), 0.09, 0.14),
    "arm_binpick_hard": Places((-0.3, 0.6), (0.3, 0.6), 0.15, 0.19),
}


def arm_reach(name: str, settings: ArmSettings) -> Task:
    """Bring the end-effector to a point. The goal is its position."""
    scene = look_up(_arm_and_table().compile())

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        start_key, goal_key = jax.random.split(key)
        noise = around((0.0,) * len(MOVED), settings.start_noise, start_key)
        return start(scene, noise), around(REACH_CENTRE, REACH_HALF, goal_key)

    def control(_: Physics, action: Array) -> Array:
        return jnp.append(joint_targets(REACH_TARGETS, action), START_FINGERS)

    def observe(physics: Physics) -> Array:
        return observe_arm(scene, physics)

    def markers(goal: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(goal), settings.goal_threshold)]

    spec = reach_spec(
        scene.model, 13, slice(7, 10), settings.episode_length, settings.goal_threshold, len(MOVED)
    )
    return Task(
        name,
        scene.model,
        SUBSTEPS,
        spec,
        reset,
        observe,
        markers,
        control=control,
        reads=READS,
        version=VERSION,
    )


def arm_cube(name: str, settings: ArmSettings) -> Task:
    """Bring the cube to a place. The goal is its position."""
    places = PLACES[name]
    scene = look_up(_cube_and_places(places).compile())

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        start_key, goal_key, noise_key = jax.random.split(key, 3)
        cube, goal = around(places.start, places.half, start_key), around(places.goal, places.half, goal_key)
        noise = around((0.0,) * len(MOVED), settings.start_noise, noise_key)
        return start(scene, noise, cube), jnp.append(goal, CUBE_HALF)

    def observe(physics: Physics) -> Array:
        opening = jnp.sum(physics.qpos[scene.fingers], keepdims=True)
        return jnp.concatenate([physics.qpos[scene.cube], observe_arm(scene, physics), opening])

    def markers(goal: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(goal), settings.goal_threshold)]

    spec = reach_spec(
        scene.model, 17, slice(0, 3), settings.episode_length, settings.goal_threshold, len(MOVED) + 1
    )
    return Task(
        name,
        scene.model,
        SUBSTEPS,
        spec,
        reset,
        observe,
        markers,
        control=gripper_control,
        reads=READS,
        version=VERSION,
    )


def arm_grasp(name: str, settings: ArmSettings) -> Task:
    """Have the fingers around the cube. The goal: left fingertip (3), right one (3), distance between them."""
    scene = look_up(_cube_and_square(GRASP_CENTRE, GRASP_HALF).compile())

    def wanted(cube: Array) -> Array:
        aside = jnp.array([GRASP_OFFSET, 0.0, 0.0])
        return jnp.concatenate([cube + aside, cube - aside, jnp.array([GRASP_OPENNESS])])

    def reset(key: PRNGKeyArray) -> tuple[Start, Array]:
        cube_key, noise_key = jax.random.split(key)
        cube = around(GRASP_CENTRE, GRASP_HALF, cube_key)
        noise = around((0.0,) * len(MOVED), settings.start_noise, noise_key)
        return start(scene, noise, cube), wanted(jnp.append(cube, CUBE_HALF))

    def observe(physics: Physics) -> Array:
        assert physics.site_xpos is not None  # noqa: S101  # the task reads it
        left, right = (physics.site_xpos[tip] for tip in scene.tips)
        openness = jnp.linalg.norm(left - right, keepdims=True)
        cube = physics.qpos[scene.cube]
        return jnp.concatenate([cube, observe_arm(scene, physics), left, right, openness])

    def markers(goal: np.ndarray) -> list[Marker]:
        return [Marker(np.asarray(tip), 0.01) for tip in (goal[:3], goal[3:6])]

    spec = reach_spec(
        scene.model, 23, slice(16, 23), settings.episode_length, settings.goal_threshold, len(MOVED) + 1
    )
    spec = spec._replace(distance=grasp_distance, alike=as_far_open)
    return Task(name, scene.model, SUBSTEPS, spec, reset, observe, markers, control=gripper_control,
                follow=lambda physics, _: wanted(physics.qpos[scene.cube]), reads=READS,
                version=VERSION)  # fmt: skip


def grasp_distance(achieved: Array, wanted: Array) -> Array:
    """Distance between the points midway between the fingertips. (…, 7) and (…, 7) -> (…)."""
    apart = achieved - wanted
    return jnp.linalg.norm(apart[..., :3] + apart[..., 3:6], axis=-1) / 2.0


def as_far_open(achieved: Array, wanted: Array) -> Array:
    """Whether a grasp is as far open as wanted, to `OPENNESS_TOLERANCE`. (…, 7) and (…, 7) -> (…)."""
    return jnp.abs(achieved[..., 6] - wanted[..., 6]) < OPENNESS_TOLERANCE


def joint_targets(targets: Targets, action: Array) -> Array:
    """Angles (7,) that joints are sent to: where actions −1 … 1 move them, the lowest to the highest."""
    low, high = jnp.asarray(np.transpose(targets), jnp.float32)
    moved = low + (action[: len(MOVED)] + 1.0) / 2.0 * (high - low)
    return jnp.asarray(HELD_ANGLES).at[np.array(MOVED)].set(moved)


def gripper_control(_: Physics, action: Array) -> Array:
    """Control (8,) for an action (5,), whose last element closes the gripper when > 0 and else opens it."""
    fingers = jnp.where(action[len(MOVED)] > 0.0, 0.0, panda.FINGER_RANGE)
    return jnp.append(joint_targets(CUBE_TARGETS, action), fingers)


class Scene(NamedTuple):
    """A model with the arm, and where things are in MuJoCo's arrays."""

    model: mujoco.MjModel
    angles: np.ndarray  # (7,) of the joints, in qpos
    fingers: np.ndarray  # (2,) likewise
    cube: np.ndarray  # (3,) its position likewise, (0,) where there is no cube
    end_effector: int  # site
    tips: tuple[int, ...]  # sites, left and right


def look_up(model: mujoco.MjModel) -> Scene:
    """Find where things are in a model."""

    def addresses(names: tuple[str, ...]) -> np.ndarray:
        return np.array([int(model.joint(name).qposadr[0]) for name in names], int)

    free = [i for i in range(model.njnt) if int(model.jnt_type[i]) == int(mujoco.mjtJoint.mjJNT_FREE)]
    return Scene(
        model=model,
        angles=addresses(panda.JOINTS),
        fingers=addresses(panda.FINGER_JOINTS),
        cube=np.array([int(model.jnt_qposadr[i]) + axis for i in free for axis in range(3)], int),
        end_effector=int(model.site(panda.END_EFFECTOR).id),
        tips=tuple(int(model.site(name).id) for name in panda.FINGERTIPS),
    )


def start(scene: Scene, noise: Array, cube: Array | None = None) -> Start:
    """The arm in its start posture, and the cube at rest on the table at (x, y), along the table's axes.

    `noise` (4,) is added to the angles of the joints that move.
    """
    posture = np.array(scene.model.qpos0, np.float32)
    posture[scene.angles], posture[scene.fingers] = START_ANGLES, START_FINGERS
    qpos = jnp.asarray(posture).at[scene.angles[np.array(MOVED)]].add(noise)
    if cube is not None:
        qpos = qpos.at[scene.cube[:2]].set(cube)
    return Start(qpos, jnp.zeros(int(scene.model.nv)))


def around(centre: tuple[float, ...], half: float, key: PRNGKeyArray) -> Array:
    """A point that is uniform within ± half of a centre along each axis, (len(centre),)."""
    return jnp.array(centre) + half * jax.random.uniform(key, (len(centre),), minval=-1.0)


def observe_arm(scene: Scene, physics: Physics) -> Array:
    """Joint angles (7), position (3) and velocity (3) of the end-effector."""
    assert physics.site_xpos is not None  # noqa: S101  # the task reads it
    assert physics.sensordata is not None  # noqa: S101  # likewise: the velocity is the only sensor
    place = physics.site_xpos[scene.end_effector]
    return jnp.concatenate([physics.qpos[scene.angles], place, physics.sensordata])


def _arm_and_table() -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    models.set_options(spec, TIMESTEP)
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.3] * 3, [0.25] * 3
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.6, 0.0, 3.0],
        dir=[-0.15, 0.1, -1.0],
        diffuse=[0.5] * 3,
        specular=[0.1] * 3,
    )
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[0.93, 0.95, 0.97],
        rgb2=[0.93, 0.95, 0.97],
        width=16,
        height=96,
    )
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,  # without end, whatever of it is drawn
        pos=[0.0, 0.45, 0.0],
        size=[1.0, 0.75, 0.1],
        rgba=TABLE_COLOUR,
        contype=TABLE,
        conaffinity=0,
    )
    panda.add_arm(spec, conaffinity=TABLE | WALL | CUBE)
    return spec


def _cube_and_places(places: Places) -> mujoco.MjSpec:
    spec = _arm_and_table()
    if places.bin_half is not None:
        spec.option.impratio = BIN_IMPRATIO
    _add_cube(spec)
    for centre, colour in ((places.start, BLUE), (places.goal, RED)):
        if places.bin_half is None:
            _add_square(spec, centre, places.half, colour)
        else:
            _add_bin(spec, centre, places.bin_half, colour)
    return spec


def _cube_and_square(centre: tuple[float, float], half: float) -> mujoco.MjSpec:
    spec = _arm_and_table()
    _add_cube(spec)
    _add_square(spec, centre, half, BLUE)
    return spec


def _add_cube(spec: mujoco.MjSpec) -> None:
    cube = spec.worldbody.add_body(name="cube", pos=[0.0, 0.0, CUBE_HALF])
    cube.add_freejoint(name="cube")
    cube.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[CUBE_HALF] * 3,  # 0.216 kg by MuJoCo's default density, that of water
        rgba=GREEN,
        contype=CUBE,
        conaffinity=TABLE | WALL,
    )


def _add_bin(spec: mujoco.MjSpec, centre: tuple[float, float], half: float, colour: tuple[float, ...]) -> None:
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        long = half + WALL_HALF_WIDTH  # so that corners are closed
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[centre[0] + x * half, centre[1] + y * half, WALL_HALF_HEIGHT],
            size=[WALL_HALF_WIDTH if x else long, WALL_HALF_WIDTH if y else long, WALL_HALF_HEIGHT],
            rgba=colour,
            contype=WALL,
            conaffinity=0,
        )


def _add_square(
    spec: mujoco.MjSpec, centre: tuple[float, float], half: float, colour: tuple[float, ...]
) -> None:
    """Paint a square on the table."""
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*centre, 0.0],
        size=[half, half, 0.0005],
        rgba=colour,
        contype=0,
        conaffinity=0,
    )


TASKS = {
    "arm_reach": Entry(arm_reach, ArmSettings(), "mujoco"),
    "arm_grasp": Entry(arm_grasp, ArmSettings(goal_threshold=0.05), "mujoco"),
    **dict.fromkeys(PLACES, Entry(arm_cube, ArmSettings(), "mujoco")),
}
