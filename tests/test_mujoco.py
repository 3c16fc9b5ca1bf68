"""Tasks on MuJoCo: the engine against MuJoCo itself, tasks by their numbers, training at toy size."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
import toy

from goalward import envs, presets, runs, training
from goalward.envs import core
from goalward.envs.mujoco import TASKS, ant, engine, models
from goalward.envs.mujoco.task import Physics, Start
from goalward.errors import UserError
from goalward.rollout import collector, starter

KEYS = jax.random.split(jax.random.key(0), 500)


@pytest.fixture(scope="module")
def humanoid():
    return envs.make("humanoid", {"episode_length": 30})


def begin(env, worlds=4, seed=0):
    return starter(env)(jax.random.split(jax.random.key(seed), worlds))


def orders(env, worlds, action, turn=None):
    order = core.order_next(env, worlds, action, True)
    return order if turn is None else order._replace(turn=jnp.asarray(turn, jnp.int32))


# --- the engine ---


def test_a_world_moves_as_one_mujoco_simulation_does(humanoid):
    """Bit for bit, and so do the fields that follow from the state."""
    worlds, task = begin(humanoid, 3), humanoid.task
    data = mujoco.MjData(task.model)
    start = jax.tree.map(lambda leaf: np.asarray(leaf[1]), core.draw_starts(humanoid, worlds.key)[0])
    data.qpos[:], data.qvel[:] = start.qpos, start.qvel
    for step in range(8):
        action = jax.random.uniform(jax.random.key(step), (3, 17), minval=-1.0, maxval=1.0)
        order = orders(humanoid, worlds, action)
        data.ctrl[:] = np.asarray(order.control[1])
        for _ in range(task.substeps):
            mujoco.mj_step(task.model, data)
        worlds = core.settle(humanoid, worlds, order, core.simulate(humanoid, worlds.state, order))
        row = np.zeros(mujoco.mj_stateSize(task.model, int(mujoco.mjtState.mjSTATE_INTEGRATION)))
        mujoco.mj_getState(task.model, data, row, int(mujoco.mjtState.mjSTATE_INTEGRATION))
        kept = np.asarray(worlds.state.row[1]).view(np.float64)
        np.testing.assert_array_equal(kept, row[: len(kept)])
        mujoco.mj_forward(task.model, data)
        for name in ("qpos", "qvel", "ctrl", "cinert", "cvel"):
            expected = getattr(data, name).astype(np.float32)
            np.testing.assert_array_equal(getattr(worlds.state.physics, name)[1], expected, err_msg=name)
        mujoco.mj_setState(task.model, data, row, int(mujoco.mjtState.mjSTATE_INTEGRATION))


def test_controls_span_the_range_of_each_actuator(humanoid):
    physics = Physics(jnp.zeros(24), jnp.zeros(23))
    for action, expected in ((-1.0, -0.4), (0.0, 0.0), (1.0, 0.4), (0.5, 0.2)):
        control = engine.scale_control(humanoid.task, physics, jnp.full(17, action))
        np.testing.assert_allclose(control, expected, atol=1e-6)
    order = orders(humanoid, begin(humanoid), jnp.full((4, 17), 7.0))
    np.testing.assert_allclose(order.control, 0.4, atol=1e-6)  # actions are clipped


def test_worlds_that_stay_are_left_alone_and_others_do_not_notice(humanoid):
    worlds = begin(humanoid)
    action = jnp.full((4, 17), 0.3)
    all_go = core.simulate(humanoid, worlds.state, orders(humanoid, worlds, action))
    mixed = orders(humanoid, worlds, action, [core.GO, core.STAY, core.GO, core.START])
    some_go = core.simulate(humanoid, worlds.state, mixed)
    for world, expected in ((0, all_go), (1, worlds.state), (2, all_go)):
        for a, b in zip(jax.tree.leaves(some_go), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a[world], b[world])


def test_a_world_whose_physics_breaks_down_stands_still_ends_and_is_counted(humanoid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings where it stands
    worlds = begin(humanoid)
    rows = np.array(worlds.state.row).view(np.float64)
    model = humanoid.task.model
    offset = 1 + int(model.nq)  # time, positions, then velocities
    rows[1, offset], rows[2, offset + 3] = np.nan, 1e14
    broken = worlds._replace(state=worlds.state._replace(row=jnp.asarray(rows.view(np.uint32))))
    order = orders(humanoid, broken, jnp.zeros((4, 17)))
    after = core.settle(humanoid, broken, order, core.simulate(humanoid, broken.state, order))
    np.testing.assert_array_equal(after.state.broke, [False, True, True, False])
    np.testing.assert_array_equal(after.terminated, [False, True, True, False])
    np.testing.assert_array_equal(humanoid.engine.faults(after.state), [0, 1, 1, 0])
    np.testing.assert_array_equal(after.state.physics.qpos[1:3], worlds.state.physics.qpos[1:3])
    sound = core.simulate(humanoid, worlds.state, orders(humanoid, worlds, jnp.zeros((4, 17))))
    np.testing.assert_array_equal(after.state.row[0], sound.row[0])

    order = orders(humanoid, after, jnp.zeros((4, 17)))
    again = core.settle(humanoid, after, order, core.simulate(humanoid, after.state, order))
    np.testing.assert_array_equal(again.steps, [2, 0, 0, 2])
    np.testing.assert_array_equal(again.state.faults, [0, 1, 1, 0])
    assert np.all(np.isfinite(np.asarray(again.state.row).view(np.float64)))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_mujoco_is_a_fault_of_those_worlds_alone(humanoid, monkeypatch):
    step = engine.Batch.step

    def failing(self, ids=None, **options):
        step(self, ids, **options)
        raise engine.SimulationError(np.array([2]), "out of stack")

    monkeypatch.setattr(engine.Batch, "step", failing)
    worlds = begin(humanoid)
    state = core.simulate(humanoid, worlds.state, orders(humanoid, worlds, jnp.zeros((4, 17))))
    np.testing.assert_array_equal(state.faults, [0, 0, 1, 0])


def test_faults_are_reported_by_a_run(tmp_path, monkeypatch):
    go = engine.Host._go

    def faulty(self, batch, ids, control):
        broke = go(self, batch, ids, control)
        broke[ids[:1]] = True
        return broke

    monkeypatch.setattr(engine.Host, "_go", faulty)
    reports = toy.run(tmp_path / "run", small("ant", num_envs=3))
    assert reports[0].faults >= 20 // 2  # one every step but where a world starts anew
    assert reports[-1].faults > reports[0].faults
    assert runs.read_metrics(tmp_path / "run")[-1]["faults"] == reports[-1].faults


# --- training ---


def small(name, **changes):
    """Two iterations on an environment; episodes end within a chunk."""
    sizes = {"epochs": 2, "total_env_steps": 160, "env_settings": {"episode_length": 8}, "eval_episodes": 3}
    return toy.config(**{"env": name, **sizes, **changes})


# One of each kind of body; what their tasks differ by has tests of its own, and the contract.
BODIES = {"ant_push", "arm_binpick_hard", "cheetah", "humanoid"}
EVERY = sorted(BODIES | {"ant_ball_maze"} | {name for name in TASKS if "maze" not in name})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in BODIES else pytest.mark.slow) for name in EVERY]
)
def test_every_task_trains(tmp_path, name):
    reports = toy.run(tmp_path / "run", small(name))
    assert [report.iteration for report in reports] == [0, 1, 2]
    assert all(np.isfinite(value) for value in reports[-1].metrics.values())
    assert reports[-1].evaluation.episodes == 3
    assert reports[-1].env_steps == 20 * 4 + 80


SHIFT_AND_SCALE = {"random_shift": 4.0, "agent": {"normalise_inputs": True}}


@pytest.mark.parametrize(("name", "changes"), [("ant_u_maze", {}), ("ant", SHIFT_AND_SCALE)])
def test_a_resumed_run_on_the_engine_ends_in_the_same_bits(tmp_path, name, changes):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    four = small(name, epochs=4, total_env_steps=240, num_envs=4, **changes)
    two = replace(four, epochs=2, total_env_steps=160)
    toy.run(whole, four)
    toy.run(halves, two)
    assert toy.digest(whole) != toy.digest(halves)
    toy.run(halves, four, resume=True)
    assert toy.digest(whole) == toy.digest(halves)
    assert toy.rows(whole) == toy.rows(halves)


def test_the_agent_learns_from_shifted_batches(tmp_path):
    """Metrics of the first iteration tell: all else is equal then."""
    still, moved = (toy.run(tmp_path / str(by), small("ant", random_shift=by)) for by in (0.0, 4.0))
    assert still[1].metrics["critic_loss"] != moved[1].metrics["critic_loss"]


@pytest.mark.slow
def test_a_run_on_the_engine_is_profiled(tmp_path):
    from goalward.profile import Profiler

    profiler = Profiler(tmp_path / "profile")
    config = small("ant", epochs=4, total_env_steps=240)
    toy.run(tmp_path / "run", config, profiler=profiler)
    toy.run(tmp_path / "plain", config)
    assert toy.digest(tmp_path / "run") == toy.digest(tmp_path / "plain")
    found = profiler.result()
    for part in ("collect", "sample", "forward", "backward", "optimiser", "evaluate"):
        assert found.parts[part] > 0, found
    assert min(found.seconds.values()) > 0


def test_evaluated_worlds_stop_where_they_terminate():
    """An ant thrown upwards ends its episode in the air; its last observation is that of the end."""
    env = envs.make("ant", {"episode_length": 6})
    reset = env.reset

    def thrown(key):
        start, goal = reset(key)
        return start._replace(qvel=start.qvel.at[2].set(jnp.where(goal[0] > 0, 8.0, 0.0))), goal

    experiment = training.build(small("ant"))._replace(eval_env=env._replace(reset=thrown))
    agent = training.init(experiment).agent
    episodes, (states, obs) = training.evaluator(experiment, record=True)(agent, KEYS[:12])
    up = np.asarray(episodes.goal[:, 0] > 0)
    assert 0 < up.sum() < 12
    z = np.asarray(obs[..., 2])
    assert np.all(z[-1, up] > 1.0)
    np.testing.assert_array_equal(obs[-1, up], obs[2, up])
    assert np.any(obs[-1, ~up] != obs[2, ~up])
    np.testing.assert_array_equal(states.physics.qpos[..., 2], z)


def test_a_buffer_can_be_sized_in_gigabytes():
    config = small("humanoid", buffer_gb=0.001, num_envs=4)
    experiment = training.build(config)
    rows = experiment.config.buffer_rows
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(training.shapes(experiment).replay))
    assert rows == int(1e6 / 4 / (4 * (229 + 17 + 3 + 1) + 2))
    assert 0.99e6 < size <= 1e6 + 8
    with pytest.raises(UserError, match="buffer_gb"):
        training.build(replace(config, buffer_gb=1e-5))
    with pytest.raises(UserError, match="buffer_gb is -1"):
        small("humanoid", buffer_gb=-1.0)


# --- the tasks ---


@pytest.mark.parametrize(
    ("name", "obs", "goal", "action"),
    [
        ("ant", 29, 2, 8), ("ant_random_start", 29, 2, 8), ("ant_ball", 31, 2, 8), ("ant_push", 31, 2, 8),
        ("humanoid", 229, 3, 17), ("cheetah", 18, 1, 6), ("reacher", 10, 3, 2), ("pusher_easy", 20, 3, 7),
        ("pusher_hard", 20, 3, 7), ("pusher2", 23, 6, 7), ("arm_reach", 13, 3, 4), ("arm_grasp", 23, 7, 5),
        ("arm_push_easy", 17, 3, 5), ("arm_binpick_hard", 17, 3, 5), ("ant_hardest_maze", 29, 2, 8),
        ("humanoid_u_maze", 229, 3, 17), ("ant_ball_maze", 31, 2, 8),
    ],
)  # fmt: skip
def test_sizes_by_table(name, obs, goal, action):
    spec = envs.make(name).spec
    assert (spec.obs_dim, spec.goal_dim, spec.action_dim, spec.episode_length) == (obs, goal, action, 1000)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("ant", 0.05), ("humanoid", 0.03), ("cheetah", 0.05), ("reacher", 0.04), ("pusher2", 0.05),
     ("arm_reach", 0.05)],
)  # fmt: skip
def test_a_step_takes_as_long_as_in_the_original(name, seconds):
    task = envs.make(name).task
    assert task.model.opt.timestep * task.substeps == pytest.approx(seconds)


# By task on open ground: which of qpos are moved along each of the axes it may be shifted along.
SHIFTED = {
    "ant": [[0], [1]],
    "ant_random_start": [[0], [1]],
    "ant_ball": [[0, 15], [1, 16]],
    "humanoid": [[0], [1]],
    "cheetah": [[0]],
}


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shifted_world_goes_on_in_the_same_way(name):
    """Two worlds from one start, one of them moved, see the same but for their positions."""
    env = envs.make(name)
    worlds = begin(env, 2)
    amounts = np.array([5.0, -3.0], np.float32)[: len(SHIFTED[name])]
    start, _ = core.draw_starts(env, worlds.key[jnp.array([0, 0])])
    expected = np.zeros(env.spec.obs_dim, np.float32)
    for axis, elements, amount in zip(SHIFTED[name], env.spec.shifts, amounts, strict=True):
        start = start._replace(qpos=start.qpos.at[1, jnp.array(axis)].add(amount))
        expected[list(elements)] = amount
    again = core.order_start(env, worlds)._replace(start=start)
    worlds = core.settle(env, worlds, again, core.simulate(env, worlds.state, again))
    for step in range(12):
        here, there = np.asarray(core.observe(env, worlds))
        np.testing.assert_allclose(there - here, expected, atol=2e-3, err_msg=f"step {step}")
        action = jax.random.uniform(jax.random.key(step), (1, env.spec.action_dim), minval=-1.0)
        order = orders(env, worlds, jnp.tile(action, (2, 1)), [core.GO, core.GO])
        worlds = core.settle(env, worlds, order, core.simulate(env, worlds.state, order))


def test_tasks_may_be_shifted_on_open_ground_and_among_walls():
    """Where the axes are those of the open ground: the same elements hold positions."""
    for name in set(TASKS) - set(SHIFTED):
        env = envs.make(name)
        moves_a_thing = "ball" in name or "push" in name
        open_ground = "humanoid" if "humanoid" in name else "ant_ball" if moves_a_thing else "ant"
        assert env.spec.shifts == (envs.make(open_ground).spec.shifts if env.maze else ()), name
    assert envs.make("ant_ball", {"shifted_goal": True}).spec.shifts == ()
    for name in TASKS:
        assert envs.make(name).spec.shifts or "random_shift" not in presets.load(envs.preset(name)), name


def drawn(name, **settings):
    env = envs.make(name, settings)
    start, goal = jax.jit(jax.vmap(env.reset))(KEYS)
    return np.asarray(start.qpos), np.asarray(start.qvel), np.asarray(goal)


def test_goals_of_the_ant_lie_on_a_circle():
    qpos, _, goal = drawn("ant", start_noise=0.0)
    np.testing.assert_allclose(np.linalg.norm(goal, axis=1), 10, rtol=1e-5)
    assert abs(goal.mean()) < 1
    np.testing.assert_allclose(qpos, np.tile([0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1], (500, 1)))
    qpos, _, goal = drawn("ant_random_start", start_noise=0.0)
    np.testing.assert_allclose(np.linalg.norm(goal, axis=1), 10, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(goal - qpos[:, :2], axis=1), 10, rtol=1e-5)
    assert np.linalg.norm(qpos[:, :2], axis=1).max() > 15


def test_noise_of_the_start_is_as_told():
    qpos, qvel, _ = drawn("ant", start_noise=0.05)
    np.testing.assert_allclose(np.linalg.norm(qpos[:, 3:7], axis=1), 1, rtol=1e-5)
    assert np.abs(qpos[:, :2]).max() == pytest.approx(0.05, rel=0.02)
    assert np.abs(qpos[:, 2] - 0.55).max() == pytest.approx(0.05, rel=0.02)
    assert qvel.std() == pytest.approx(0.05, rel=0.05)


def test_the_ball_starts_around_a_fifth_of_the_way_to_its_goal():
    qpos, _, goal = drawn("ant_ball")
    np.testing.assert_allclose(np.linalg.norm(goal, axis=1), 5, rtol=1e-5)
    ball = qpos[:, 15:] - 0.2 * goal
    np.testing.assert_allclose(np.linalg.norm(ball, axis=1), 1, rtol=1e-4)
    # Both coordinates by one angle, and that angle not the goal's: the original's slip.
    assert abs(np.corrcoef(ball[:, 1], goal[:, 1])[0, 1]) < 0.15


def test_the_goal_of_the_ball_is_the_ball_but_for_parity():
    obs = jnp.arange(31.0)
    assert envs.make("ant_ball").spec.achieved(obs).tolist() == [29, 30]
    assert envs.make("ant_ball", {"shifted_goal": True}).spec.achieved(obs).tolist() == [28, 29]
    assert envs.make("ant_ball_maze").spec.achieved(obs).tolist() == [29, 30]


def test_a_pushed_ball_moves_and_an_ant_does_not_walk_through_a_wall():
    env = envs.make("ant_ball", {"start_noise": 0.0})
    worlds = begin(env, 1)
    start, _ = core.draw_starts(env, worlds.key)
    # Ball 1 m ahead at rest, the ant flies at it.
    qpos = start.qpos.at[0, 15:].set(jnp.array([1.3, 0.0]))
    moved = after(env, worlds, Start(qpos, start.qvel.at[0, 0].set(5.0)), 10)
    assert moved.state.physics.qpos[0, 15] > 1.6

    env = envs.make("ant_u_maze", {"start_noise": 0.0})
    worlds = begin(env, 1)
    start, _ = core.draw_starts(env, worlds.key)
    thrown = after(env, worlds, start._replace(qvel=start.qvel.at[0, 0].set(-20.0)), 12)
    np.testing.assert_allclose(start.qpos[0, :2], [4, 4])
    assert 2.0 < thrown.state.physics.qpos[0, 0] < 6.0  # the wall's face is at 2


def after(env, worlds, start, steps):
    """Worlds some steps after they were put into a start, without action."""
    order = core.order_start(env, worlds)._replace(start=start)
    for _ in range(1 + steps):
        worlds = core.settle(env, worlds, order, core.simulate(env, worlds.state, order))
        idle = jnp.zeros((len(worlds.steps), env.spec.action_dim))
        order = orders(env, worlds, idle, [core.GO])
    return worlds


def test_the_block_of_ant_push_bars_the_way_and_can_be_pushed():
    env = envs.make("ant_push", {"start_noise": 0.0})
    worlds = begin(env, 1)
    assert env.observe(jax.tree.map(lambda leaf: leaf[0], worlds.state))[29:].tolist() == [16, 16]
    start, _ = core.draw_starts(env, worlds.key)
    # Beside the block, at its height, thrown at it.
    qpos = start.qpos.at[0, :2].set(jnp.array([11.5, 16.0]))
    moved = after(env, worlds, Start(qpos, start.qvel.at[0, 0].set(10.0)), 20)
    observed = env.observe(jax.tree.map(lambda leaf: leaf[0], moved.state))
    assert observed[29] > 16.5
    assert abs(float(observed[30]) - 16) < 0.5
    assert observed[0] < observed[29] - 3.5  # not through it
    _, _, goal = drawn("ant_push")
    near = np.where(goal[:, :1] > goal[:, 1:], goal, goal[:, ::-1]) - np.array([24.0, 16.0])
    assert np.all((near >= 0) & (near <= 2))
    assert 0.4 < np.mean(goal[:, 0] > goal[:, 1]) < 0.6


def test_goals_of_the_humanoid_lie_around_it_at_standing_height():
    qpos, _, goal = drawn("humanoid")
    distance = np.linalg.norm(goal[:, :2], axis=1)
    assert 1 <= distance.min() < 1.1
    assert 4.9 < distance.max() <= 5
    np.testing.assert_allclose(goal[:, 2], 1.25)
    assert np.abs(qpos[:, 2] - 1.4).max() == pytest.approx(0.01, rel=0.02)


def test_the_humanoid_observes_momenta_inertias_and_torques_of_its_links(humanoid):
    """Against MuJoCo's Jacobians, for links of which the feet are a part."""
    task, model, rng = humanoid.task, humanoid.task.model, np.random.default_rng(0)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = model.qpos0 + rng.uniform(-0.3, 0.3, 24), rng.normal(size=23)
    data.ctrl[:] = rng.uniform(-0.4, 0.4, 17)
    mujoco.mj_normalizeQuat(model, data.qpos)
    mujoco.mj_forward(model, data)
    fields = ("qpos", "qvel", "ctrl", "cinert", "cvel")
    obs = np.asarray(task.observe(Physics(**{f: jnp.asarray(getattr(data, f), jnp.float32) for f in fields})))
    inertia, velocity = obs[47:146].reshape(11, 3, 3), obs[146:212].reshape(11, 6)
    moved = [body for body in range(model.nbody) if model.body_jntnum[body]]
    for link, body in enumerate(moved):
        parts = np.flatnonzero(model.body_weldid == body)
        mass = model.body_mass[parts]
        away = data.xipos[parts] - data.subtree_com[1]
        turns = data.ximat[parts].reshape(-1, 3, 3)
        own = np.einsum("bij,bj,bkj->ik", turns, model.body_inertia[parts], turns)
        steiner = np.sum(mass * np.sum(away**2, axis=1)) * np.eye(3) - np.einsum("b,bi,bj", mass, away, away)
        np.testing.assert_allclose(inertia[link], own + steiner, atol=1e-4)
        linear, angular = np.zeros((3, 23)), np.zeros((3, 23))
        mujoco.mj_jac(model, data, linear, angular, np.average(data.xipos[parts], axis=0, weights=mass), body)
        share = mass.sum() / model.body_mass.sum()
        wanted = np.concatenate([share * linear @ data.qvel, angular @ data.qvel])
        np.testing.assert_allclose(velocity[link], wanted, atol=1e-4)
    np.testing.assert_allclose(obs[212:], data.qfrc_actuator[6:], rtol=1e-4)


def contacts(model) -> set[frozenset[str]]:
    """Which bodies may touch each other, by MuJoCo's rule for kinds of surface."""
    return {
        frozenset(model.body(model.geom_bodyid[k]).name for k in (i, j))
        for i, j in itertools.combinations(range(model.ngeom), 2)
        if model.geom_contype[i] & model.geom_conaffinity[j]
        or model.geom_contype[j] & model.geom_conaffinity[i]
    }


def test_robots_touch_what_they_touch_in_the_originals():
    model = envs.make("humanoid_u_maze").task.model
    parts = {model.body(i).name for i in range(1, model.nbody)}
    assert contacts(model) == {frozenset({"world", part}) for part in parts}  # not itself
    touching = {"torso", "bthigh", "bfoot", "fthigh", "ffoot"}  # of the torso the head alone
    assert contacts(envs.make("cheetah").task.model) == {frozenset({"world", part}) for part in touching}
    wrist = "r_wrist_roll_link"
    assert contacts(envs.make("pusher2").task.model) == {
        frozenset({wrist, other}) for other in ("world", "object1", "object2")
    }
    assert contacts(envs.make("reacher").task.model) == set()


def test_motors_of_the_reacher_have_the_gear_in_force_in_the_original():
    np.testing.assert_allclose(envs.make("reacher").task.model.actuator_gear[:, 0], 25)


def test_ants_of_generalisation_splits_start_in_the_middle_of_their_cell():
    qpos, *_ = drawn("ant_u_maze_gen_1f2f")
    np.testing.assert_allclose(qpos[:, :2], np.round(qpos[:, :2] / 4) * 4, atol=1e-6)
    assert np.abs(qpos[:, 2] - 0.55).max() == pytest.approx(0.1, rel=0.02)


def test_goals_of_the_cheetah_lie_ahead_and_behind_unless_told():
    *_, goal = drawn("cheetah")
    assert 0.4 < np.mean(goal > 0) < 0.6
    assert (np.abs(goal).min(), np.abs(goal).max()) == pytest.approx((1, 5), abs=0.1)
    *_, goal = drawn("cheetah", nearest_goal=5, only_forward=True)
    np.testing.assert_allclose(goal, 5)
    model = envs.make("cheetah").task.model
    assert model.body_mass.sum() == pytest.approx(13.369, abs=1e-3)  # 14 with JaxGCRL's goal


def test_the_fingertip_of_the_reacher_is_where_its_angles_say():
    env = envs.make("reacher")
    worlds = after_random_actions(env, 10)
    obs, (a, b) = np.asarray(core.observe(env, worlds)), np.asarray(worlds.state.physics.qpos).T
    np.testing.assert_allclose(obs[:, :4].T, [np.cos(a), np.cos(b), np.sin(a), np.sin(b)], atol=1e-5)
    tip = 0.1 * np.array([np.cos(a), np.sin(a)]) + 0.11 * np.array([np.cos(a + b), np.sin(a + b)])
    np.testing.assert_allclose(obs[:, 4:6].T, tip, atol=1e-5)
    va, vb = np.asarray(worlds.state.physics.qvel).T
    speed = 0.1 * va * np.array([-np.sin(a), np.cos(a)])
    speed = speed + 0.11 * (va + vb) * np.array([-np.sin(a + b), np.cos(a + b)])
    np.testing.assert_allclose(obs[:, 7:9].T, speed, atol=1e-3)
    *_, goal = drawn("reacher")
    radius = np.linalg.norm(goal[:, :2], axis=1)
    assert 0.19 < radius.max() <= 0.2
    assert np.mean(radius < 0.1) == pytest.approx(0.5, abs=0.07)


def after_random_actions(env, steps):
    def act(_, obs, goal, key):
        return jax.random.uniform(key, (obs.shape[0], env.spec.action_dim), minval=-1.0, maxval=1.0)

    run = collector(env, act, True)
    return run(None, begin(env, 8), (), jax.random.split(jax.random.key(1), steps))[0]


@pytest.mark.parametrize("name", ["pusher_easy", "pusher_hard", "pusher2"])
def test_cylinders_start_in_their_boxes_away_from_their_goals(name):
    from goalward.envs.mujoco import pusher

    qpos, _, goal = drawn(name)
    objects, goals = qpos[:, 7:].reshape(500, -1, 2), goal.reshape(500, -1, 3)
    np.testing.assert_allclose(goals[..., 2], -0.275)
    apart = np.linalg.norm(objects - goals[..., :2], axis=-1)
    assert apart.min() >= 0.17 - 1e-5
    boxes = pusher.TWO_STARTS if name == "pusher2" else [pusher.START]
    for number, ((x0, x1), (y0, y1)) in enumerate(boxes):
        low, high = objects[:, number].min(0), objects[:, number].max(0)
        np.testing.assert_allclose([*low, *high], [x0, y0, x1, y1], atol=5e-3)
    spec = envs.make(name).spec
    far = jnp.asarray(goal).at[:, -3].add(0.5)
    np.testing.assert_allclose(spec.distance(jnp.asarray(goal), far), 0.5, rtol=1e-4)
    assert not np.any(spec.success(jnp.asarray(goal), far))


def test_the_goal_of_a_grasp_follows_the_cube():
    env = envs.make("arm_grasp")
    worlds = after_random_actions(env, 3)
    shifted = worlds._replace(goal=worlds.goal + 1.0)
    order = orders(env, shifted, jnp.zeros((8, 5)))
    settled = core.settle(env, shifted, order, core.simulate(env, shifted.state, order))
    cube = core.observe(env, settled)[:, :3]
    np.testing.assert_allclose((settled.goal[:, :3] + settled.goal[:, 3:6]) / 2, cube, atol=1e-5)


def test_an_ant_touches_the_ground_with_its_feet_and_walls_with_all_it_has():
    model = envs.make("ant_u_maze").task.model
    names = [model.geom(i).name for i in range(model.ngeom)]
    touch = {name: set() for name in names}
    for i, j in itertools.combinations(range(model.ngeom), 2):
        kinds, meets = model.geom_contype, model.geom_conaffinity
        if kinds[i] & meets[j] or kinds[j] & meets[i]:
            touch[names[i]].add(names[j])
            touch[names[j]].add(names[i])
    feet = {f"{corner}_foot_geom" for corner in ("left", "right", "third", "fourth")}
    assert touch["floor"] == feet
    robot = {name for name in names if not name.startswith(("floor", "wall"))}
    assert len(robot) == 17
    assert touch["wall_0_0"] == robot
    for foot in feet:
        ankle, sphere = model.geom(foot.replace("foot", "ankle")), model.geom(foot)
        assert sphere.size[0] == pytest.approx(0.08)
        np.testing.assert_allclose(sphere.pos, 2 * ankle.pos, atol=1e-9)  # the capsule starts at the origin
    assert model.body_mass[1:].sum() == pytest.approx(0.911, abs=1e-3)  # feet have no mass of their own


def test_an_ant_on_its_back_sinks_out_of_the_healthy_heights_and_ends_its_episode():
    task = envs.make("ant").task

    def over(quaternion, steps):
        """Whether an ant that is put down in this orientation, without action, has ended its episode."""
        data = mujoco.MjData(task.model)
        data.qpos[:] = models.initial_qpos(task.model)
        data.qpos[3:7] = quaternion
        mujoco.mj_step(task.model, data, nstep=steps * task.substeps)
        return bool(task.terminated(Physics(jnp.asarray(data.qpos, jnp.float32), jnp.zeros(14))))

    on_its_back, upright = [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
    assert [over(on_its_back, steps) for steps in (1, 20)] == [False, True]
    assert not over(upright, 40)


@pytest.mark.parametrize("name", ["ant", "ant_ball", "ant_push", "ant_u_maze"])
def test_an_ant_of_brax_has_nine_links_of_one_kilogram(name):
    model = envs.make(name, {"brax_inertia": True}).task.model
    links = [i for i in range(model.nbody) if model.body_rootid[i] == model.body("torso").id]
    moving = [i for i in links if model.body_jntnum[i] > 0]
    assert len(moving) == 9
    np.testing.assert_array_equal(model.body_mass[moving], 1)
    np.testing.assert_array_equal(model.body_inertia[moving], 1)
    assert model.body_subtreemass[model.body("torso").id] == pytest.approx(9, abs=0.01)
    plain = envs.make(name).task.model
    assert np.all(model.dof_armature[6:14] == 0)
    assert np.all(plain.dof_armature[6:14] == 1)
    assert plain.body_subtreemass[model.body("torso").id] == pytest.approx(0.91, abs=0.01)
    others = [i for i in range(model.nbody) if i not in links]
    np.testing.assert_array_equal(model.body_mass[others], plain.body_mass[others])


def test_the_gear_of_an_ant_is_its_motors():
    assert np.all(envs.make("ant", {"gear": 40.0}).task.model.actuator_gear[:, 0] == 40)
    assert np.all(envs.make("ant").task.model.actuator_gear[:, 0] == 150)


def test_an_ant_too_high_or_too_low_ends_its_episode():
    terminated = envs.make("ant").task.terminated
    for z, over in ((0.19, True), (0.21, False), (0.99, False), (1.01, True)):
        assert bool(terminated(Physics(jnp.zeros(15).at[2].set(z), jnp.zeros(14)))) == over


@pytest.mark.parametrize("seed", range(30))
def test_rectangles_cover_walls_once_and_nothing_else(seed):
    random = np.random.default_rng(seed)
    walls = random.random((random.integers(1, 9), random.integers(1, 9))) < random.uniform(0.2, 0.95)
    covered = np.zeros(walls.shape, int)
    for top, left, bottom, right in models.rectangles(walls):
        covered[top : bottom + 1, left : right + 1] += 1
    np.testing.assert_array_equal(covered, walls.astype(int))


def test_walls_are_few_boxes_in_their_place():
    env = envs.make("ant_u4_maze")
    model = env.task.model
    boxes = [i for i in range(model.ngeom) if model.geom(i).name.startswith("wall_")]
    assert len(boxes) <= 8 < env.maze.walls.sum()
    centre, half = model.geom_pos[boxes], model.geom_size[boxes]
    for cell, is_wall in np.ndenumerate(env.maze.walls):
        inside = np.all(np.abs(np.array(cell) * 4.0 - centre[:, :2]) < half[:, :2], axis=1)
        assert inside.any() == is_wall
    np.testing.assert_allclose(centre[:, 2] + half[:, 2], 2.0)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("ant", {"goal_distance": -1.0}, "ant setting goal_distance is -1.0; it must lie in 0 … 1000"),
        ("ant", {"cell_size": 4.0}, "ant has no setting 'cell_size'; its settings are episode_length, "),
        ("ant_u_maze", {"cell_size": 0.5}, "cell_size is 0.5"),
        ("humanoid", {"nearest_goal": 6.0}, "nearest_goal is 6.0; it must lie in 0 … 5"),
        ("reacher", {"goal_radius": 1}, "goal_radius is 1.0; it must lie in 0 … 0.21"),
        ("cheetah", {"only_forward": 1}, "only_forward is 1; it must be a bool"),
        ("arm_reach", {"goal_threshold": 0}, "goal_threshold is 0.0"),
        ("pusher2", {"episode_length": 0}, "episode_length is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, told):
    with pytest.raises(UserError) as caught:
        envs.make(name, settings)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["ants", "ant_u9_maze", "humanoid_u4_maze", "arm", "ant_u_maze_gen_9f"])
def test_tasks_that_do_not_exist_are_refused(name):
    with pytest.raises(UserError):
        envs.make(name)


def test_a_missing_gymnasium_is_told(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="gymnasium"):
        models.gymnasium_model("ant", 0.01)


def test_ball_and_push_grids_hold_together():
    for grid in (*ant.BALL_GRIDS.values(), ant.PUSH_GRID):
        rows = grid.split()
        assert len({len(row) for row in rows}) == 1
        assert set(rows[0] + rows[-1] + "".join(row[0] + row[-1] for row in rows)) == {"#"}
