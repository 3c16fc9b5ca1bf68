"""The Panda against its published numbers, and each task with scripted and with random actions."""

import collections
import functools
import itertools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from goalward.envs.mujoco import engine, models, panda
from goalward.envs.mujoco.manipulation import (
    CUBE_TARGETS,
    HELD_ANGLES,
    REACH_TARGETS,
    START_ANGLES,
    TASKS,
    ArmSettings,
)
from goalward.envs.mujoco.task import Physics
from goalward.errors import UserError
from goalward.rollout import collector, starter

# Franka's data sheet, modified Denavit–Hartenberg parameters of joints 1 to 7, and of the flange.
DH_A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
DH_D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
DH_ALPHA = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
# Along the last axis: of the flange, and from there of the point between the fingertips, which in the tasks of
# scaling-crl lies 0.07 along fingers that start at 0.0584.
FLANGE, TOOL = 0.107, 0.0584 + 0.07
LIMITS = np.array(
    [
        [-2.8973, 2.8973],
        [-1.7628, 1.7628],
        [-2.8973, 2.8973],
        [-3.0718, -0.0698],
        [-2.8973, 2.8973],
        [-0.0175, 3.7525],
        [-2.8973, 2.8973],
    ]
)
HOME = np.array([0.0, 0.0, 0.0, -1.57079, 0.0, 1.57079, -0.7853])

CUBE_TASKS = [name for name in TASKS if name != "arm_reach"]
# Where the cube and the end-effector are in the observations of those.
CUBE, PLACE = slice(0, 3), slice(10, 13)
OPEN, CLOSED = -1.0, 1.0
WORLDS = 9


def link_frames(angles: np.ndarray) -> np.ndarray:
    """Frame of the flange by the data sheet, (…, 7) -> (…, 4, 4)."""
    frame = np.broadcast_to(np.eye(4), (*angles.shape[:-1], 4, 4))
    for a, d, alpha, theta in zip(DH_A, DH_D, DH_ALPHA, np.moveaxis(angles, -1, 0), strict=True):
        ca, sa, ct, st, zero = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta), np.zeros_like(theta)
        rows = (
            (ct, -st, zero, zero + a),
            (st * ca, ct * ca, zero - sa, zero - d * sa),
            (st * sa, ct * sa, zero + ca, zero + d * ca),
            (zero, zero, zero, zero + 1.0),
        )
        frame = frame @ np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return frame


def tool(angles: np.ndarray) -> np.ndarray:
    """Point between the fingertips, and where the hand looks, (…, 7) -> (…, 3) twice."""
    frame = link_frames(angles)
    return frame[..., :3, 3] + (FLANGE + TOOL) * frame[..., :3, 2], frame[..., :3, 2]


def angles_for(point, targets=CUBE_TARGETS, look=None) -> np.ndarray:
    """Angles (4,) of the moved joints, among those that actions reach, that bring the tool nearest to a point.

    Random search that narrows down; the first joint turns the arm's plane to the point. `look` is where the
    hand should look, at 0.1 m for 1 rad or so.
    """
    rng = np.random.default_rng(0)
    low, high = np.transpose(targets)
    turn = np.clip(np.arctan2(point[1], point[0]), low[0], high[0])
    best, spread = (low + high) / 2, high - low
    for _ in range(14):
        tried = np.vstack([best, np.clip(best + spread * rng.uniform(-1, 1, (400, 4)), low, high)])
        tried[:, 0] = turn
        angles = np.tile(HELD_ANGLES, (len(tried), 1))
        angles[:, [0, 1, 3, 5]] = tried
        place, looks = tool(angles)
        cost = np.linalg.norm(place - point, axis=-1)
        if look is not None:
            cost = cost + 0.1 * np.linalg.norm(looks - look, axis=-1)
        best, spread = tried[cost.argmin()], spread / 1.7
    return best


def actions_for(points, targets=CUBE_TARGETS, look=None) -> np.ndarray:
    """Actions (N, 4) that bring the tool to points (N, 3)."""
    low, high = np.transpose(targets)
    return (np.stack([angles_for(point, targets, look) for point in points]) - low) / (high - low) * 2 - 1


def build(name: str):
    """A task with its default settings."""
    entry = TASKS[name]
    return entry.build(name, entry.settings)


@functools.cache
def programs(name: str):
    """Environment, what starts its worlds and what repeats actions; compiled once for all tests."""
    env = engine.make(build(name))
    run = collector(env, lambda actions, *_: actions, resample_goals=False)
    return env, starter(env), run, jax.jit(jax.vmap(env.observe))


class Stage:
    """Worlds that take the actions they are given; episodes are longer than any test."""

    def __init__(self, name: str, seed: int = 0):
        self.env, start, self._run, self._observe = programs(name)
        self.worlds = start(jax.random.split(jax.random.key(seed), WORLDS))
        self._actions = np.zeros((WORLDS, 4))

    def take(self, actions, chunks: int = 1):
        """Repeat actions (N, A) for 5 steps a chunk; the rows of the last."""
        for _ in range(chunks):
            keys = jax.random.split(jax.random.key(0), 5)
            self.worlds, _, rows = self._run(jnp.asarray(actions, jnp.float32), self.worlds, (), keys)
        return rows

    def go(self, points, gripper: float, chunks: int = 5):
        """Bring the tool to points above the table, looking down, on a straight line in joint space."""
        before, self._actions = self._actions, actions_for(points, look=(0.0, 0.0, -1.0))
        for share in [*np.linspace(0, 1, chunks)[1:], 1.0]:
            way = before + share * (self._actions - before)
            self.take(np.append(way, np.full((WORLDS, 1), gripper), axis=1))
        return self.obs

    @property
    def obs(self) -> np.ndarray:
        return np.asarray(self._observe(self.worlds.state))


def bare_arm() -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    models.set_options(spec, 0.002)
    panda.add_arm(spec, conaffinity=1)
    return spec.compile()


def test_frames_are_those_of_the_data_sheet():
    model = bare_arm()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for angles in rng.uniform(*LIMITS.T, (50, 7)):
        data.qpos[:7], data.qpos[7:] = angles, rng.uniform(0, 0.08)
        mujoco.mj_kinematics(model, data)
        frame = link_frames(angles)
        np.testing.assert_allclose(data.body("link7").xpos, frame[:3, 3], atol=1e-6)
        np.testing.assert_allclose(data.body("link7").xmat.reshape(3, 3), frame[:3, :3], atol=1e-6)
        np.testing.assert_allclose(data.body("hand").xpos, frame[:3, 3] + FLANGE * frame[:3, 2], atol=1e-6)
        np.testing.assert_allclose(data.site("end_effector").xpos, tool(angles)[0], atol=1e-6)
        tips = [data.site(name).xpos for name in ("left_fingertip", "right_fingertip")]
        np.testing.assert_allclose(np.mean(tips, axis=0), data.site("end_effector").xpos, atol=1e-6)
        assert np.linalg.norm(tips[0] - tips[1]) == pytest.approx(2 * (data.qpos[7] + 0.005))


def test_masses_limits_and_drives_are_the_published_ones():
    model = bare_arm()
    masses = [4.970684, 0.646926, 3.228604, 3.587895, 1.225946, 1.666555, 0.735522]
    np.testing.assert_allclose([model.body(f"link{i}").mass[0] for i in range(1, 8)], masses)
    assert model.body("hand").mass[0] == 0.73
    assert sum(model.body_mass) == pytest.approx(sum(masses) + 0.73 + 2 * 0.015)
    np.testing.assert_allclose(model.body_ipos[2], [0.003875, 0.002081, -0.04762])
    # Principal moments of the seventh link, from its published tensor.
    tensor = [[1.2516, -0.0428, -0.1196], [-0.0428, 1.0027, -0.0741], [-0.1196, -0.0741, 0.4815]]
    moments = np.linalg.eigvalsh(np.array(tensor) * 1e-2)
    np.testing.assert_allclose(np.sort(model.body("link7").inertia), moments, rtol=1e-5)
    np.testing.assert_allclose(model.jnt_range[:7], LIMITS)
    np.testing.assert_allclose(model.actuator_ctrlrange[:7], LIMITS)
    gains = np.array([4500, 4500, 3500, 3500, 2000, 2000, 2000.0])
    np.testing.assert_allclose(model.actuator_gainprm[:7, 0], gains)
    np.testing.assert_allclose(model.actuator_biasprm[:7, :3], np.stack([0 * gains, -gains, -gains / 10], 1))
    torques = np.array([87, 87, 87, 87, 12, 12, 12.0])
    np.testing.assert_allclose(model.actuator_forcerange[:7], np.stack([-torques, torques], 1))
    np.testing.assert_allclose(model.dof_armature, 0.1)
    np.testing.assert_allclose(np.ravel(model.dof_damping)[:9], 5.0)  # of those tasks; Menagerie's is 1


@pytest.mark.parametrize("posture", [HOME, np.array(START_ANGLES)], ids=["published", "start"])
def test_the_arm_holds_its_posture_against_gravity(posture):
    model = bare_arm()
    data = mujoco.MjData(model)
    data.qpos[:7] = data.ctrl[:7] = posture
    mujoco.mj_step(model, data, int(5 / model.opt.timestep))
    np.testing.assert_allclose(data.qpos[:7], posture, atol=0.015)
    np.testing.assert_allclose(data.qvel, 0, atol=1e-4)
    assert np.abs(data.qpos[:7] - posture).max() > 1e-3  # there is gravity


def test_velocity_of_the_end_effector_is_its_jacobian_times_that_of_the_joints():
    model = build("arm_push_easy").model
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(10):
        data.qpos[:], data.qvel[:] = model.qpos0 + rng.uniform(-1, 1, model.nq), rng.uniform(-1, 1, model.nv)
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_forward(model, data)
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, jacobian, None, model.site("end_effector").id)
        np.testing.assert_allclose(data.sensordata, jacobian @ data.qvel, atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_observations_are_made_of_what_they_say(name):
    stage, rng = Stage(name), np.random.default_rng(0)
    stage.take(rng.uniform(-1, 1, (WORLDS, stage.env.spec.action_dim)))
    physics, model = jax.tree.map(np.asarray, stage.worlds.state.physics), stage.env.task.model
    angles = physics.qpos[:, [int(model.joint(f"joint{i}").qposadr[0]) for i in range(1, 8)]]
    wanted = [angles, physics.site_xpos[:, model.site("end_effector").id], physics.sensordata]
    np.testing.assert_allclose(tool(angles)[0], wanted[1], atol=1e-4)
    if name != "arm_reach":
        cube = int(model.joint("cube").qposadr[0])
        left, right = (physics.site_xpos[:, model.site(f"{side}_fingertip").id] for side in ("left", "right"))
        apart = np.linalg.norm(left - right, axis=-1, keepdims=True)
        last = [left, right, apart] if name == "arm_grasp" else [apart - 0.01]
        wanted = [physics.qpos[:, cube : cube + 3], *wanted, *last]
    np.testing.assert_allclose(stage.obs, np.concatenate(wanted, axis=1), atol=1e-5)


# Where cubes start and goals are: middles, and how far from them along each axis.
BOXES = {
    "arm_reach": (None, ((0.0, 0.5, 0.3), (0.2, 0.2, 0.2))),
    "arm_grasp": (((0.0, 0.6, 0.03), (0.3, 0.3, 0.0)), None),
    "arm_push_easy": (((-0.1, 0.6, 0.03), (0.1, 0.1, 0.0)), ((0.1, 0.6, 0.03), (0.1, 0.1, 0.0))),
    "arm_push_hard": (((-0.25, 0.65, 0.03), (0.25, 0.25, 0.0)), ((0.25, 0.65, 0.03), (0.25, 0.25, 0.0))),
    "arm_binpick_easy": (((-0.15, 0.6, 0.03), (0.09, 0.09, 0.0)), ((0.17, 0.6, 0.03), (0.09, 0.09, 0.0))),
    "arm_binpick_hard": (((-0.3, 0.6, 0.03), (0.15, 0.15, 0.0)), ((0.3, 0.6, 0.03), (0.15, 0.15, 0.0))),
}


@pytest.mark.parametrize("name", TASKS)
def test_starts_and_goals_fill_their_boxes_and_the_arm_starts_near_its_posture(name):
    task = build(name)
    start, goal = jax.vmap(task.reset)(jax.random.split(jax.random.key(0), 2000))
    start, goal = jax.tree.map(np.asarray, (start, goal))
    cubes, goals = BOXES[name]
    arm = [int(task.model.joint(f"joint{i}").qposadr[0]) for i in range(1, 8)]
    noise = start.qpos[:, arm] - np.array(START_ANGLES)
    np.testing.assert_allclose(noise[:, [2, 4, 6]], 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(noise[:, [0, 1, 3, 5]]).max(0), 0.01, rtol=0.02)
    assert not start.qvel.any()
    points = []
    if cubes:
        address = int(task.model.joint("cube").qposadr[0])
        points.append((start.qpos[:, address : address + 3], cubes))
        np.testing.assert_array_equal(
            start.qpos[:, address + 3 : address + 7], np.tile([1, 0, 0, 0], (2000, 1))
        )
    if goals:
        points.append((goal, goals))
    for found, (centre, half) in points:
        np.testing.assert_allclose(found.min(0), np.subtract(centre, half), atol=5e-3)
        np.testing.assert_allclose(found.max(0), np.add(centre, half), atol=5e-3)
        assert np.all(np.abs(found - centre) <= np.array(half) + 1e-6)
        np.testing.assert_allclose(found.std(0), np.array(half) / np.sqrt(3), rtol=0.05, atol=1e-6)
    if cubes and goals:
        assert abs(np.corrcoef(points[0][0][:, 0], points[1][0][:, 0])[0, 1]) < 0.1


def corners(name: str) -> list[tuple[float, ...]]:
    centre, half = next(box for box in reversed(BOXES[name]) if box)
    signs = {tuple(np.multiply(sign, half)) for sign in itertools.product((-1, 1), repeat=3)} | {
        (0.0, 0.0, 0.0)
    }
    return sorted(tuple(np.round(np.add(centre, offset), 3).tolist()) for offset in signs)


# A circle of 0.82 m around the arm is all that its hand gets to on the table.
SEED_OF_REACH = 1
BEYOND = {"arm_push_hard": {(0.5, 0.9, 0.03)}, "arm_grasp": {(-0.3, 0.9, 0.03), (0.3, 0.9, 0.03)}}


@pytest.mark.parametrize("name", TASKS)
def test_corners_and_centre_of_the_goals_are_in_reach(name):
    # At this seed no cube lies where a hand is to go.
    stage, points = Stage(name, seed=SEED_OF_REACH), corners(name)
    targets = REACH_TARGETS if name == "arm_reach" else CUBE_TARGETS
    filled = (points * WORLDS)[:WORLDS]
    above = np.maximum(filled, (-np.inf, -np.inf, 0.2))  # first, so that the table is not in the way
    for way in (above, filled):
        actions = actions_for(way, targets)
        rest = np.full((WORLDS, stage.env.spec.action_dim - 4), CLOSED)
        stage.take(np.append(actions, rest, axis=1), chunks=8)
    place = stage.obs[:, 7:10] if name == "arm_reach" else stage.obs[:, PLACE]
    far = np.linalg.norm(place - filled, axis=-1) >= TASKS[name].settings.goal_threshold
    assert {point for point, is_far in zip(filled, far, strict=True) if is_far} == BEYOND.get(name, set())


def test_actions_move_four_joints_and_the_gripper():
    task, physics = build("arm_push_easy"), Physics(jnp.zeros(16), jnp.zeros(15))
    for sign, column in ((-1.0, 0), (1.0, 1)):
        control = np.asarray(task.control(physics, jnp.full(5, sign)))
        np.testing.assert_allclose(control[[0, 1, 3, 5]], np.array(CUBE_TARGETS)[:, column], atol=1e-6)
        np.testing.assert_allclose(control[[2, 4, 6]], [0.0, 0.0, 0.7244], atol=1e-6)
        assert control[7] == pytest.approx([0.08, 0.0][column])
    assert task.control(physics, jnp.array([0.0, 0.0, 0.0, 0.0, 1e-3]))[7] == 0.0
    control = np.asarray(build("arm_reach").control(physics, jnp.ones(4)))
    np.testing.assert_allclose(control[[0, 1, 3, 5]], np.array(REACH_TARGETS)[:, 1], atol=1e-6)
    for targets in (REACH_TARGETS, CUBE_TARGETS):
        assert np.all(np.array(targets)[:, 0] >= LIMITS[[0, 1, 3, 5], 0])
        assert np.all(np.array(targets)[:, 1] <= LIMITS[[0, 1, 3, 5], 1])


def test_the_gripper_closes_and_opens():
    stage = Stage("arm_push_easy")
    for gripper, opening in ((CLOSED, 0.0), (OPEN, 0.16), (CLOSED, 0.0)):
        obs = stage.go([(0.0, 0.6, 0.3)] * WORLDS, gripper)
        np.testing.assert_allclose(obs[:, 16], opening, atol=2e-3)


def test_a_push_moves_the_cube_along():
    stage = Stage("arm_push_easy")
    cubes = stage.obs[:, CUBE]
    for offset in ((-0.15, 0.0, 0.2), (-0.15, 0.0, 0.0)):
        obs = stage.go(np.add(cubes, offset), CLOSED)
    np.testing.assert_allclose(obs[:, CUBE], cubes, atol=1e-3)
    for along in (-0.1, -0.05, 0.0, 0.05):
        obs = stage.go(np.add(cubes, (along, 0.0, 0.0)), CLOSED, chunks=3)
    moved = obs[:, CUBE] - cubes
    assert np.all(moved[:, 0] > 0.05)
    np.testing.assert_allclose(moved[:, 1:], 0, atol=0.06)
    np.testing.assert_array_equal(stage.env.spec.achieved(obs), obs[:, CUBE])


def test_hand_and_fingers_touch_the_walls_of_bins():
    """As many pairs of each kind as the models of scaling-crl and JaxGCRL list."""
    model = build("arm_binpick_easy").model
    kinds = {"table": "table", "hand": "hand", "left_finger": "finger", "right_finger": "finger"}
    kind = [
        kinds.get(model.geom(i).name, "cube" if model.body(body).name == "cube" else "wall")
        for i, body in enumerate(model.geom_bodyid)
    ]
    pairs = collections.Counter(
        tuple(sorted((kind[i], kind[j])))
        for i, j in itertools.combinations(range(model.ngeom), 2)
        if model.geom_contype[i] & model.geom_conaffinity[j]
        or model.geom_contype[j] & model.geom_conaffinity[i]
    )
    assert pairs == {
        ("finger", "wall"): 16, ("hand", "wall"): 8, ("cube", "wall"): 8, ("cube", "table"): 1,
        ("cube", "finger"): 2, ("cube", "hand"): 1, ("finger", "table"): 2, ("hand", "table"): 1,
    }  # fmt: skip
    assert model.opt.impratio == 10
    assert build("arm_push_easy").model.opt.impratio == 1


def test_a_cube_is_carried_from_bin_to_bin_and_not_pushed():
    stage = Stage("arm_binpick_easy")
    cubes, goals = stage.obs[:, CUBE], np.asarray(stage.worlds.goal)
    # An open hand is 0.18 wide along x: beside a wall it has no room.
    room = np.abs(cubes[:, 0] + 0.15) < 0.135 - 0.09
    assert room.sum() > 3

    def success():
        return np.asarray(
            stage.env.spec.success(stage.env.spec.achieved(jnp.asarray(stage.obs)), stage.worlds.goal)
        )

    for height, gripper in ((0.17, OPEN), (0.0, OPEN), (0.0, CLOSED)):
        obs = stage.go(np.add(cubes, (0.0, 0.0, height)), gripper)
    np.testing.assert_allclose(obs[room, 16], 0.059, atol=5e-3)  # of the cube less the pads
    obs = stage.go(np.add(cubes, (0.0, 0.0, 0.14)), CLOSED)
    assert np.all(obs[room, 2] > 0.1)
    for height, gripper in ((0.14, CLOSED), (0.02, CLOSED), (0.02, OPEN), (0.17, OPEN)):
        stage.go(np.add(goals, (0.0, 0.0, height)), gripper)
    assert np.mean(success()[room]) >= 0.75  # one slips out of the hand on the way

    stage = Stage("arm_binpick_easy")
    for offset in ((-0.07, 0.0, 0.17), (-0.07, 0.0, 0.0), (0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.2, 0.0, 0.0)):
        obs = stage.go(np.add(cubes, offset), CLOSED)
    assert np.all(obs[:, 0] < -0.015)  # where the wall begins
    assert np.mean(obs[:, 0] > cubes[:, 0] + 0.02) > 0.5  # pushed nevertheless


def test_a_grasp_is_success_once_the_fingers_close_around_the_cube():
    def easy(stage):
        return np.abs(np.linalg.norm(stage.obs[:, :2], axis=1) - 0.63) < 0.08  # easily in reach

    stage = next(stage for stage in (Stage("arm_grasp", seed) for seed in range(99)) if easy(stage).sum() > 4)
    cubes, spec, within = stage.obs[:, CUBE], stage.env.spec, easy(stage)

    def outcome():
        achieved, goal = spec.achieved(jnp.asarray(stage.obs)), stage.worlds.goal
        return np.asarray(spec.distance(achieved, goal))[within], np.asarray(spec.success(achieved, goal))[
            within
        ]

    assert np.all(outcome()[0] > 0.05)
    for height in (0.17, 0.0):
        stage.go(np.add(cubes, (0.0, 0.0, height)), OPEN)
    distance, success = outcome()
    assert np.all(distance < 0.03)
    assert not np.any(success)  # as near, but wide open
    obs = stage.go(cubes, CLOSED)
    distance, success = outcome()
    assert np.all(distance < 0.03)
    assert np.all(success)
    assert np.all(obs[within, 16] > obs[within, 19] + 0.03)  # the left finger is at +x, as the goal wants it
    stage.go(np.add(cubes, (0.0, 0.0, 0.15)), OPEN)
    assert not np.any(outcome()[1])


def test_distance_of_a_grasp_is_that_of_the_middles():
    spec = build("arm_grasp").spec
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 7)).astype(np.float32)
    middles = [(x[:, :3] + x[:, 3:6]) / 2 for x in (a, b)]
    wanted = np.linalg.norm(middles[0] - middles[1], axis=-1)
    np.testing.assert_allclose(spec.distance(jnp.asarray(a), jnp.asarray(b)), wanted, rtol=1e-5)
    goal = jnp.array([0.0375, 0.6, 0.03, -0.0375, 0.6, 0.03, 0.075])
    for shift, open_by, success in (
        (0.049, 0.0, True),
        (0.051, 0.0, False),
        (0.0, 0.019, True),
        (0.0, -0.021, False),
    ):
        achieved = goal + jnp.array([0.0, shift, 0.0, 0.0, shift, 0.0, open_by])
        assert bool(spec.success(achieved, goal)) is success


@pytest.mark.parametrize("name", CUBE_TASKS)
def test_random_actions_neither_break_the_physics_nor_lose_the_cube(name):
    stage, rng = Stage(name), np.random.default_rng(0)
    first = stage.obs
    for _ in range(40):  # 200 steps, of a new action every fifth
        rows = jax.tree.map(np.asarray, stage.take(rng.uniform(-1, 1, (WORLDS, 5))))
        assert np.isfinite(rows.obs).all()
        assert rows.obs[..., 2].min() > 0.0
        assert rows.obs[..., 2].max() < 0.5
        assert not rows.terminated.any()
        if name == "arm_grasp":  # the goal is where the cube is, always
            middle = (rows.goal[..., :3] + rows.goal[..., 3:6]) / 2
            np.testing.assert_allclose(middle, rows.obs[..., :3], atol=1e-6)
            np.testing.assert_allclose(rows.goal[..., 0] - rows.goal[..., 3], 0.075, atol=1e-6)
            np.testing.assert_allclose(rows.goal[..., 6], 0.075)
    assert np.any(np.linalg.norm((stage.obs - first)[:, CUBE], axis=-1) > 0.02)
    assert not np.asarray(stage.worlds.state.faults).any()


@pytest.mark.parametrize("name", TASKS)
def test_markers_are_where_the_goal_is(name):
    task = build(name)
    goal = np.asarray(task.reset(jax.random.key(0))[1])
    places = [marker.position for marker in task.markers(goal)]
    np.testing.assert_array_equal(places, goal[:6].reshape(-1, 3))
    assert all(marker.radius > 0 for marker in task.markers(goal))


@pytest.mark.parametrize(
    ("field", "value"), [("episode_length", 0), ("goal_threshold", 0.0), ("goal_threshold", float("inf"))]
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(UserError, match=f"{field} is {value}; it must lie in"):
        ArmSettings(**{field: value})


def test_settings_are_in_force():
    spec = TASKS["arm_reach"].build("arm_reach", ArmSettings(episode_length=7, goal_threshold=0.2)).spec
    assert spec.episode_length == 7
    assert bool(spec.success(jnp.array([0.0, 0.0, 0.19]), jnp.zeros(3)))
    assert not bool(spec.success(jnp.array([0.0, 0.0, 0.21]), jnp.zeros(3)))
