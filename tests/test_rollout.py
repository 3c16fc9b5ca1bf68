"""Collecting and evaluating, on a line that can be stepped by hand and in a maze corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import envs
from goalward.envs import core
from goalward.errors import UserError
from goalward.evaluation import Episodes, episode_runner, summarise
from goalward.rollout import collector, starter
from goalward.types import EnvSpec

LENGTH, END = 5, 2.0


def line():
    """A number that the action is added to. Reaching 2 ends the episode; goals and starts are random."""

    def reset(key):
        start_key, goal_key = jax.random.split(jax.random.fold_in(key, 7))
        return jax.random.uniform(start_key, (1,), maxval=0.5), jax.random.uniform(goal_key, (1,))

    def distance(achieved, goal):
        return jnp.abs(achieved - goal)[..., 0]

    spec = EnvSpec(1, 1, 1, LENGTH, lambda obs: obs, distance, 0.25)
    return core.Env("line", spec, reset, jnp.add, lambda state: state, lambda state: state[0] >= END)


def act(_, obs, goal, key):
    """Depends on all it is given; some worlds reach the end within the time limit, some do not."""
    return 0.8 * jax.random.uniform(key, obs.shape) + 0.1 * obs - 0.3 * goal


@pytest.mark.parametrize("resample_goals", [True, False])
def test_collected_rows_are_those_of_stepping_by_hand(resample_goals):
    env, worlds, steps = line(), 6, 25
    begin = jax.jit(starter(env))(jax.random.split(jax.random.key(1), worlds))
    run = jax.jit(collector(env, act, resample_goals))
    rows = jax.tree.map(np.asarray, run(None, begin, (), jax.random.split(jax.random.key(0), steps))[2])
    for t, key in enumerate(jax.random.split(jax.random.key(0), steps)):
        action = act(None, jnp.asarray(rows.obs[t]), jnp.asarray(rows.goal[t]), key)
        np.testing.assert_allclose(rows.action[t], action, atol=1e-6)

    ends = []
    for world in range(worlds):
        obs, goal, taken, over = float(begin.state[world, 0]), np.asarray(begin.goal[world]), 0, False
        for t in range(steps):
            if t and (over or taken == LENGTH):
                ends.append("terminated" if over else "limit")
                obs, goal, taken, over = float(rows.obs[t, world, 0]), rows.goal[t, world], 0, False
                assert 0 <= obs < 0.5
            elif t:
                obs = obs + np.clip(rows.action[t - 1, world, 0], -1, 1)
                taken, over = taken + 1, obs >= END
            assert rows.obs[t, world, 0] == pytest.approx(obs, abs=1e-5)
            np.testing.assert_array_equal(rows.goal[t, world], goal)
            assert rows.first[t, world] == (taken == 0)
            assert rows.terminated[t, world] == over
    assert set(ends) == {"terminated", "limit"}
    episodes = rows.first.sum() if resample_goals else worlds
    assert len(np.unique(rows.obs[rows.first])) == len(np.unique(rows.goal)) == episodes


def test_collecting_goes_on_where_it_stopped():
    env = line()
    begin = jax.jit(starter(env))(jax.random.split(jax.random.key(1), 4))
    run = jax.jit(collector(env, act, True))
    keys = jax.random.split(jax.random.key(0), 16)
    (middle, pending, first_rows) = run(None, begin, (), keys[:8])
    (_, _, second_rows) = run(None, middle, pending, keys[8:])
    for a, b, whole in zip(first_rows, second_rows, run(None, begin, (), keys)[2], strict=True):
        np.testing.assert_allclose(np.concatenate([a, b]), whole, atol=1e-6)


def test_a_straight_walk_to_the_next_cell_has_a_known_time_at_goal():
    """Steps of 0.2 over one cell of 1.0: 0.8, 0.6, then 0.4 < 0.5, from the third step on."""
    settings = {"episode_length": 10, "start_noise": 0.0}
    env = envs.make("point_u3_maze_gen_1f", settings)
    run = jax.jit(episode_runner(env, lambda _, obs, goal, t: 4 * (goal - obs), record=True))
    episodes, (_, obs) = run(None, jax.random.split(jax.random.key(0), 32))
    assert obs.shape == (10, 32, 2)
    np.testing.assert_array_equal(episodes.time_at_goal, 8)
    assert np.all(episodes.success & episodes.final_success)
    np.testing.assert_allclose(episodes.final_distance, 0, atol=2e-2)
    np.testing.assert_allclose(obs[-1], episodes.goal, atol=2e-2)
    assert len(np.unique(episodes.goal, axis=0)) > 5


def test_a_terminated_world_stays_where_it_ended_and_is_at_no_goal_after_that():
    env = line()._replace(reset=lambda key: (jnp.zeros(1), jnp.full(1, END)))
    run = jax.jit(episode_runner(env, lambda action, obs, goal, t: action, record=True))
    keys = jax.random.split(jax.random.key(0), 3)
    # The first reaches the end, where the goal is, at step 2; the second at step 4; the third stays just short.
    episodes, (_, obs) = run(jnp.array([[1.0], [0.5], [0.36]]), keys)
    np.testing.assert_allclose(obs[:, 0, 0], [1, 2, 2, 2, 2])
    np.testing.assert_array_equal(episodes.time_at_goal, [1, 1, 1])
    np.testing.assert_array_equal(episodes.success, [True, True, True])
    np.testing.assert_array_equal(episodes.final_success, [False, False, True])
    np.testing.assert_allclose(episodes.final_distance, [0, 0, 0.2], atol=1e-6)


def test_summary_by_hand():
    episodes = Episodes(
        goal=jnp.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [0.0, 1.0]]),
        time_at_goal=jnp.array([0, 10, 6, 3]),
        success=jnp.array([False, True, True, True]),
        final_success=jnp.array([False, True, False, False]),
        final_distance=jnp.array([4.0, 0.0, 2.0, 0.0]),
    )
    summary = summarise(episodes, episode_length=10)
    assert (summary.success_rate, summary.final_success, summary.episodes) == (0.75, 0.25, 4)
    assert (summary.time_at_goal, summary.time_at_goal_fraction, summary.final_distance) == (4.75, 0.475, 1.5)
    with pytest.raises(UserError, match=r"no finite number.*check-env"):
        summarise(episodes._replace(final_distance=jnp.array([4.0, jnp.nan, 2.0, 0.0])), episode_length=10)
    near = {
        "success_rate": 2 / 3,
        "final_success": 0.0,
        "time_at_goal": 3.0,
        "final_distance": 2.0,
        "episodes": 3,
    }
    far = {
        "success_rate": 1.0,
        "final_success": 1.0,
        "time_at_goal": 10.0,
        "final_distance": 0.0,
        "episodes": 1,
    }
    assert summary.by_goal == [{"goal": [0.0, 1.0], **near}, {"goal": [2.0, 3.0], **far}]
