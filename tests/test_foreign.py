"""Environments of Gymnasium: what is read of them, their states taken out and put back, processes of worlds."""

from functools import lru_cache
from pathlib import Path

import gym_worlds
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from gymnasium import spaces

from goalward import contract, envs, prng, recorded, rollout, training
from goalward.envs import core, gym
from goalward.errors import MachineError, UserError
from goalward.foreign import film, layout, making, probe, snapshot
from goalward.foreign.making import Recipe
from goalward.foreign.pool import Apart, Here, Kind
from goalward.foreign.worlds import GO, START, STAY, TAKE
from goalward.pictures.render import render
from goalward.policy import load_experiment

FILE = str(Path(gym_worlds.__file__))
LINE = {"goal": [0], "threshold": 0.5, "episode_length": 12, "processes": 1}
DRIFT = {"episode_length": 12, "processes": 1}


def recipe(function, **kwargs):
    return Recipe(function, kwargs, path=FILE, function=function)


def make(function, kwargs=None, **settings):
    return gym.make(recipe(function, **(kwargs or {})), gym.GymSettings(**settings))


@lru_cache
def kind(function, *goal, **kwargs):
    its = recipe(function, **kwargs)
    found = probe.look(its, goal)
    return Kind(its, found.layout, found.words)


# What is read ----------------------------------------------------------------------------------------------


def test_goals_apart_from_the_observation_are_a_part_of_the_row_that_networks_do_not_see():
    env = make("drift", **DRIFT)
    assert (env.spec.obs_dim, env.spec.goal_dim, env.spec.action_dim) == (6, 2, 2)
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 5))
    rows = np.asarray(core.observe(env, worlds))
    np.testing.assert_array_equal(np.asarray(env.spec.achieved(jnp.asarray(rows))), rows[:, 4:])
    np.testing.assert_allclose(np.sin(rows[:, 4:]), rows[:, :2], rtol=1e-6)
    assert env.spec.sight is not None
    assert env.spec.sight.obs(jnp.asarray(rows)).shape == (5, 4)
    assert len(np.unique(np.asarray(worlds.goal), axis=0)) == 5  # those that the environment commands


def test_the_distance_at_which_a_goal_is_reached_is_found_from_rewards():
    assert make("drift", {"reach": 0.4}, **DRIFT).spec.threshold == pytest.approx(0.4)
    assert make("drift", threshold=0.1, **DRIFT).spec.threshold == 0.1


def test_whole_observations_that_are_commanded_are_reached_in_the_elements_that_are_named():
    env = make("whole", **LINE)
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 30))
    assert env.spec.goal_dim == 1
    assert len(np.unique(np.asarray(worlds.goal))) > 8


def test_goals_that_nobody_commands_are_drawn_from_a_box_or_from_what_random_play_achieves():
    keys = jax.random.split(prng.key(0), 200)
    box = make("line", goal_low=[-2.0], goal_high=[1.0], **LINE)
    drawn = np.asarray(jax.vmap(box.reset)(keys)[1])
    assert drawn.min() == pytest.approx(-2.0, abs=0.1)
    assert drawn.max() == pytest.approx(1.0, abs=0.1)
    played = np.asarray(jax.vmap(make("line", **LINE).reset)(keys)[1])
    assert set(played.ravel().tolist()) <= set(np.arange(-9.0, 10.0).tolist())
    assert len(np.unique(played)) > 5


def test_actions_span_the_range_and_choices_are_the_ones_chosen():
    drift, line = make("drift", **DRIFT), make("line", **LINE)
    assert drift.engine is not None
    assert line.engine is not None
    corners = [drift.engine.control(None, jnp.array(a)).tolist() for a in ([-1.0, 1.0], [0.0, 1 / 3])]
    np.testing.assert_allclose(corners, [[-2.0, 1.0], [-0.5, 0.0]], atol=1e-6)
    assert line.spec.discrete
    walk = line.engine.advance(
        line.engine.advance(_host(line.engine.blank(3)), *_orders(3, START, 0.0)),
        *_orders(3, GO, [[0.0], [1.0], [2.0]]),
    )
    started = line.engine.advance(_host(line.engine.blank(3)), *_orders(3, START, 0.0)).row[:, 0]
    np.testing.assert_array_equal(walk.row[:, 0] - started, [-1, 0, 1])


def _host(state):
    return jax.tree.map(np.asarray, state)


def _orders(number, turn, control, seed=3):
    controls = np.broadcast_to(np.float32(control), (number, 1))
    return controls, np.full(number, turn, np.int32), np.full(number, seed, np.int32)


@pytest.mark.parametrize(
    ("space", "goal", "told"),
    [
        (spaces.Box(0, 255, (400, 400, 3), np.uint8), [0], "as a picture has"),
        (spaces.Text(3), [0], "must be numbers"),
        (spaces.Box(-1, 1, (3,)), [], r"goal=\[0,1\]"),
        (spaces.Box(-1, 1, (3,)), [3], "elements 0 to 2"),
        (spaces.Box(-1, 1, (3,)), [-1], "elements 0 to 2"),
        (spaces.Box(-1, 1, (3,)), [1, 1], "each element once"),
    ],
)
def test_observations_and_goals_that_cannot_be_are_told(space, goal, told):
    env = gym_worlds.Line()
    env.observation_space = space
    with pytest.raises(UserError, match=f"mine.*{told}"):
        layout.of("mine", env, {}, goal)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "element 0 .*-inf"),
        (spaces.Box(np.array([-1, 2]), np.array([1, 2])), "element 1"),
        (spaces.MultiDiscrete([2, 3]), "Box or Discrete"),
    ],
)
def test_actions_that_cannot_be_are_told(space, told):
    env = gym_worlds.Line()
    env.action_space = space
    with pytest.raises(UserError, match=f"mine.*{told}"):
        layout.of("mine", env, {}, [0])


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("gym:CartPoll-v1", {}, "CartPole-v1"),
        ("gym:os:Thing-v0", {}, "no installed package"),
        ("gym:CartPole-v1", {"goal": [0]}, "threshold=…"),
        ("gym:CartPole-v1", {"goal": [0], "threshold": -1}, "threshold"),
        ("gym:CartPole-v1", {"goal": [9]}, "elements 0 to 3"),
        ("gym:CartPole-v1", {"goal": [0], "threshold": 0.1, "goal_low": [0]}, "goal_high is \\[\\]"),
        ("gym:CartPole-v1", {"goal": [0], "threshold": 0.1, "goal_low": [2], "goal_high": [1]}, "above"),
        ("gym:CartPole-v1", {"goal": [0], "kwargs": {"gravity": 3}}, "cannot be made.*gravity"),
        ("gym:CartPole-v1", {"goals": [0]}, "no setting 'goals'"),
    ],
)
def test_names_and_settings_that_cannot_be_are_told(name, settings, told):
    with pytest.raises(UserError, match=told):
        envs.make(name, settings)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'imageio'", name="imageio"), r'pip install "goalward\[gym\]"'),
        (ModuleNotFoundError("No module named 'swamp.mud'", name="swamp.mud"), "'swamp.mud'; install swamp$"),
        (gymnasium.error.DependencyNotInstalled("Box2D is missing, `pip install x`"), "Box2D .* x`$"),
    ],
)
def test_a_package_that_is_missing_is_told_with_its_remedy(error, told, monkeypatch):
    def lacking(*_, **__):
        raise error

    monkeypatch.setattr(making, "make", lacking)
    with pytest.raises(UserError, match=rf"^gym:Mud-v0 cannot be made: .*{told}"):
        probe.make(Recipe("gym:Mud-v0", {}, id="Mud-v0"))


def test_time_limits_of_wrappers_are_found():
    assert make("limited", goal=[0], threshold=0.5).spec.episode_length == 6


def test_an_environment_without_time_limit_needs_to_be_told_one():
    with pytest.raises(UserError, match="episode_length"):
        make("line", goal=[0], threshold=0.5)


# States ----------------------------------------------------------------------------------------------------


def test_a_state_goes_on_in_another_environment_bit_for_bit():
    """With noise from its generator, tuples, numbers of several kinds, and a place whose type changes."""
    one, other = (making.make(recipe("drift", noise=0.1)) for _ in range(2))
    making.reset(one, 1)
    making.reset(other, 2)
    kept = snapshot.leaves(one)
    row = np.zeros(snapshot.size(kept), np.uint64)
    actions = np.random.default_rng(0).uniform(-2, 1, (20, 2)).astype(np.float32)
    for action in actions[:10]:
        one.step(action)
    snapshot.take(one, kept, row)
    snapshot.put(other, kept, row)
    for action in actions[10:]:
        rows = [env.step(action)[0]["achieved_goal"] for env in (one, other)]
        np.testing.assert_array_equal(*rows)
    assert (type(other.speed), type(other.steps), type(other.lucky)) == (tuple, int, bool)
    assert other.goal.dtype == np.float32


def test_whether_a_state_can_be_kept_is_tried_out():
    assert kind("drift").words > 0
    assert kind("drift", noise=0.1).words > 0
    assert kind("drift", hidden=True).words == 0  # part of its state is out of sight


def test_a_reset_is_a_function_of_its_seed_even_where_it_draws_from_what_all_share():
    class Shared(gym_worlds.Line):
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.random.uniform(size=3), {}

    before = np.random.get_state()[1].copy()
    env = Shared()
    first, again, other = (making.reset(env, seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # and nobody else notices


@pytest.mark.parametrize("kwargs", [{}, {"noise": 0.05}])
def test_the_contract_is_kept(kwargs):
    findings = contract.check(make("drift", kwargs, **DRIFT), worlds=6)
    assert findings.problems == []
    assert findings.faults == 0


@pytest.mark.parametrize(("function", "settings"), [("line", LINE), ("whole", LINE)])
def test_the_contract_is_kept_by_choices(function, settings):
    env = make(function, **settings)
    assert contract.check(env._replace(constant=(2,)), worlds=6).problems == []


def test_the_contract_is_kept_by_gymnasiums_own():
    env = envs.make("gym:CartPole-v1", LINE | {"threshold": 0.1})
    assert contract.check(env, worlds=6).problems == []


def test_episodes_end_by_terminations_by_time_and_where_the_environment_ends_them():
    env = make("limited", goal=[0], threshold=0.5, episode_length=50, processes=1)
    collect = rollout.collector(env, contract.random_act(env), resample_goals=True)
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 4))
    _, _, rows = collect(None, worlds, (), jax.random.split(prng.key(1), 30))
    starts = np.asarray(rows.first)
    assert (np.flatnonzero(starts[:, 0]) == [0, 7, 14, 21, 28]).all()  # six steps, and a row for the last state
    assert not np.asarray(rows.terminated).any()
    np.testing.assert_allclose(np.asarray(rows.obs)[6::7, :, 1], 0.6)  # the last state is a row


def test_what_is_not_a_number_ends_an_episode_as_a_fault():
    env = make("line", {"wrong": "nan"}, **LINE)
    collect = rollout.collector(env, contract.random_act(env), resample_goals=True)
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 4))
    worlds, _, rows = collect(None, worlds, (), jax.random.split(prng.key(1), 12))
    assert np.isfinite(np.asarray(rows.obs)).all()
    assert np.asarray(rows.terminated).sum() >= 4
    assert env.engine is not None
    assert (np.asarray(env.engine.faults(worlds.state)) >= 2).all()


# Processes -------------------------------------------------------------------------------------------------


def play(pool, turns=25):
    """Rows, goals and snapshots of worlds under random controls, with starts and rests among them."""
    block, random = pool.block, np.random.default_rng(0)
    number = len(block.turn)
    seen = []
    for t in range(turns):
        block.turn[:] = random.choice([GO, GO, GO, START, STAY], number) if t else START
        block.control[:] = random.uniform(-2, 1, block.control.shape)
        block.seed[:] = random.integers(1 << 31, size=number)
        pool.run()
        seen.append((block.row.copy(), block.goal.copy(), block.token.copy(), block.terminated.copy()))
    block.turn[:] = TAKE
    pool.run()
    return [np.stack(part) for part in zip(*seen, strict=True)] + [block.snapshot.copy()]


def test_worlds_in_other_processes_do_as_they_do_here():
    its = kind("drift", noise=0.1)
    for ours, theirs in zip(play(Here(its, 5)), play(Apart(its, 5, 2)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_step_raises_is_one_message(processes):
    settings = LINE | {"processes": processes, "episode_length": 60, "goal_low": [0], "goal_high": [1]}
    env = make("line", {"wrong": "raises"}, **settings)
    with pytest.raises(UserError, match=r"line: step raised ValueError: the bridge is out \(.*gym_worlds.py"):
        contract.check(env, worlds=4, steps=80)


def test_a_process_of_worlds_that_dies_is_told():
    env = make("line", {"wrong": "dies"}, **LINE | {"processes": 2})
    with pytest.raises(MachineError, match="line: a process of its worlds ended by exit code 7"):
        contract.check(env, worlds=4)


def test_processes_end_with_what_started_them():
    pool = Apart(kind("line", 0), 2, 2)
    processes = pool._processes
    assert all(process.poll() is None for process in processes)
    del pool
    assert all(process.poll() is not None for process in processes)


def test_a_step_is_a_function_of_what_it_is_given():
    """Two runs of the same worlds, step by step in turn, go on as each does alone."""
    env = make("drift", {"noise": 0.1}, **DRIFT)
    assert env.engine is not None
    engine, controls = env.engine, np.random.default_rng(1).uniform(-1, 1, (10, 3, 2)).astype(np.float32)

    def begin(seed):
        given = controls[0], np.full(3, START, np.int32), np.arange(3, dtype=np.int32) + seed
        return engine.complete(engine.advance(_host(engine.blank(3)), *given))

    def go(state, control):
        return engine.complete(engine.advance(state, control, np.full(3, GO, np.int32), np.zeros(3, np.int32)))

    alone, rows = begin(0), []
    for control in controls:
        alone = go(alone, control)
        rows.append(alone.row)
    one, other = begin(0), begin(7)
    for control, row in zip(controls, rows, strict=True):
        one, other = go(one, control), go(other, -control)
        np.testing.assert_array_equal(one.row, row)
    assert int(one.faults.sum() + other.faults.sum()) == 0


def test_a_state_that_is_neither_at_hand_nor_kept_ends_its_episode_as_a_fault():
    env = make("drift", {"hidden": True}, **DRIFT)
    assert env.engine is not None
    assert not env.engine.keeps
    engine, go = env.engine, (np.zeros((2, 2), np.float32), np.full(2, GO, np.int32), np.zeros(2, np.int32))
    start = np.zeros((2, 2), np.float32), np.full(2, START, np.int32), np.arange(2, dtype=np.int32)
    started = engine.advance(_host(engine.blank(2)), *start)
    engine.advance(started, *go)
    again = engine.advance(started, *go)
    assert again.broke.all()
    assert again.faults.tolist() == [1, 1]
    np.testing.assert_array_equal(again.row, started.row)


# Runs ------------------------------------------------------------------------------------------------------


def settings(**kwargs):
    name = envs.asked(f"{FILE}:drift")
    return toy.config(env=name, env_settings=DRIFT | {"processes": 2} | kwargs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run to its end."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    assert toy.run(directory, settings(noise=0.1))[-1].faults == 0
    return directory


def test_a_run_that_is_resumed_equals_one_that_was_not(whole, tmp_path):
    stop = iter([False] * 4 + [True] * 9)
    toy.run(tmp_path / "parts", settings(noise=0.1), should_stop=lambda: next(stop))
    toy.run(tmp_path / "parts", settings(noise=0.1), resume=True)
    assert toy.digest(whole) == toy.digest(tmp_path / "parts")


@pytest.mark.slow
def test_a_run_whose_states_cannot_be_kept_goes_on_with_new_episodes(tmp_path, monkeypatch):
    # of its own worlds, not of those of a run before
    monkeypatch.setattr(training, "compile_programs", toy._compile)
    stop = iter([False] * 3 + [True] * 9)
    toy.run(tmp_path / "run", settings(hidden=True), should_stop=lambda: next(stop))
    last = toy.run(tmp_path / "run", settings(hidden=True), resume=True)[-1]
    assert last.faults == 0
    assert last.epoch == 2
    _, run = load_experiment(tmp_path / "run")
    first = np.asarray(run.replay.rows.first)
    at = [t for t in range(len(first)) if first[t].all()]
    assert len(at) >= 2  # all worlds began anew, not only where their time was over


def test_episodes_are_recorded_as_data_without_physics(whole):
    rows = recorded.episodes(whole, 2)
    assert rows.last.sum() == 2
    assert rows.obs.shape[1] == envs.make(settings().env, settings(noise=0.1).env_settings).spec.obs_dim
    assert rows.qpos is None
    assert rows.qvel is None


def test_an_episode_is_filmed_as_the_environment_draws_it(whole, tmp_path):
    [video] = render(whole, tmp_path / "film.gif", episodes=2)
    from PIL import Image

    with Image.open(video) as picture:
        assert picture.size == (32, 32)
        assert picture.n_frames > 4


def test_pictures_are_of_the_states_that_were_kept():
    its = kind("drift")
    worlds = Here(its, 1)
    block = worlds.block
    block.turn[:], rows, places = START, [], []
    for _ in range(4):
        worlds.run()
        places.append(block.row[0, 4:].copy())
        block.turn[:] = TAKE
        worlds.run()
        rows.append(block.snapshot[0].copy())
        block.turn[:], block.control[:] = GO, 1.0
    for place, picture in zip(places, film.frames(its.recipe, np.stack(rows)), strict=True):
        bright = np.argwhere(picture[:, :, 0])[0]
        np.testing.assert_array_equal(bright, np.clip((place * 8 + 16).astype(int), 0, 31))


def test_an_environment_that_draws_nothing_is_told():
    its = kind("line", 0)
    with pytest.raises(UserError, match="cannot be drawn"):
        next(film.frames(its.recipe, np.zeros((1, its.words), np.uint64)))
