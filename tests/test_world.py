"""One world stepped by hand: the rows of a rollout, Gymnasium's interface, goals and seeds."""

import warnings
from functools import lru_cache

import gym_worlds
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from goalward import envs, prng
from goalward.envs import core, gym
from goalward.errors import UserError
from goalward.evaluation import episode_runner
from goalward.foreign.making import Recipe
from goalward.rollout import collector, starter
from goalward.types import EnvSpec
from goalward.world import World, make_env

LENGTH, STEPS, SEED = 6, 15, 3


def line():
    """A number that the action is added to; beyond 2 an episode ends."""

    def reset(key):
        start, goal = jax.random.uniform(key, (2, 1))
        return start, goal

    def distance(achieved, goal):
        return jnp.abs(achieved - goal)[..., 0]

    spec = EnvSpec(1, 1, 1, LENGTH, lambda obs: obs, distance, 0.25)
    return core.Env("line", spec, reset, jnp.add, lambda state: state, lambda state: state[0] >= 2)


def drift():
    recipe = Recipe("drift", {}, path=gym_worlds.__file__, function="drift")
    return gym.make(recipe, gym.GymSettings(episode_length=LENGTH, processes=1))


KINDS = {
    "line": line,
    "point": lambda: envs.make("point_u_maze", {"episode_length": LENGTH}),
    "boxes": lambda: envs.make("boxes_4x4_2", {"episode_length": LENGTH}),
    "reacher": lambda: envs.make("reacher", {"episode_length": LENGTH}),
    "drift": drift,
}


@lru_cache
def made(kind):
    """The environment and a world of it, made once."""
    env = KINDS[kind]()
    return env, World(env)


@lru_cache
def collected(kind):
    """Rows (T, 1, …) of the world of a seed."""
    env, _ = made(kind)

    def act(_, obs, goal, key):
        action = jax.random.uniform(key, (len(obs), env.spec.action_dim), minval=-1.0)
        return jax.nn.one_hot(jnp.argmax(action, axis=-1), env.spec.action_dim) if env.spec.discrete else action

    keys = jax.random.split(prng.key(0), STEPS)
    start, run = starter(env), collector(env, act, resample_goals=True)
    if env.engine is None:
        start, run = jax.jit(start), jax.jit(run)
    return jax.tree.map(
        lambda leaf: np.asarray(leaf)[:, 0], run(None, start(prng.key(SEED)[None]), (), keys)[2]
    )


@pytest.mark.parametrize("kind", ["line", "boxes", "reacher", "drift"])
def test_episodes_are_bit_for_bit_those_of_a_rollout(kind):
    _, one = made(kind)
    rows, over = collected(kind), True
    for t in range(STEPS):
        assert rows.first[t] == over
        if over:
            obs, _ = one.reset(seed=None if t else SEED)
            over = False
        else:
            obs, _, terminated, truncated, _ = one.step(rows.action[t - 1])
            assert terminated == rows.terminated[t]
            over = terminated or truncated
        np.testing.assert_array_equal(obs["observation"], rows.obs[t])
        np.testing.assert_array_equal(obs["desired_goal"], rows.goal[t])
    assert rows.first.sum() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_environment_of_gymnasium(kind):
    _, one = made(kind)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*(infinity|does not have a spec|not having a spec)")
        check_env(one, skip_render_check=True)
    assert TimeLimit(one, 3).spec is None


def test_rewards_and_distances_are_those_of_an_evaluation():
    env, one = made("line")
    run = jax.jit(episode_runner(env, lambda _, obs, goal, t: jnp.full((len(obs), 1), 0.2)))
    rewards = 0
    for seed in range(4):
        episode = jax.tree.map(lambda leaf: np.asarray(leaf)[0], run(None, prng.key(seed)[None])[0])
        one.reset(seed=seed)
        told = [one.step([0.2]) for _ in range(LENGTH)]
        assert sum(reward for _, reward, _, _, _ in told) == episode.time_at_goal
        assert [truncated for _, _, _, truncated, _ in told] == [False] * (LENGTH - 1) + [True]
        obs, reward, _, _, info = told[-1]
        assert info == {"is_success": bool(episode.final_success), "distance": one.distance}
        assert one.distance == pytest.approx(float(episode.final_distance), rel=1e-6)
        again = one.compute_reward(
            *(np.stack([obs[name]] * 2) for name in ("achieved_goal", "desired_goal")), {}
        )
        np.testing.assert_array_equal(again, [reward, reward])
        rewards += sum(reward for _, reward, _, _, _ in told)
    assert rewards > 0


def test_a_goal_holds_at_once_and_stays_until_the_next_episode():
    _, one = made("point")
    one.reset(seed=0)
    drawn = one.goal
    one.goal = one.achieved
    assert one.success
    assert one.distance == 0
    there = one.goal
    for _ in range(LENGTH + 3):  # past the time limit
        obs, *_ = one.step([0.0, 1.0])
        np.testing.assert_array_equal(obs["desired_goal"], there)
    assert one.steps == LENGTH + 3
    assert not np.array_equal(one.obs, there)
    one.reset(seed=0)
    np.testing.assert_array_equal(one.goal, drawn)
    obs, info = one.reset(seed=0, options={"goal": [1.0, 2.0]})
    assert obs["desired_goal"].tolist() == one.goal.tolist() == [1.0, 2.0]
    assert info["distance"] == one.distance


def test_seeds_say_which_episode_it_is_and_without_one_each_is_another():
    env = line()
    worlds = [World(env) for _ in range(2)]
    starts = [[one.reset(seed=seed)[0]["observation"][0] for seed in (5, None, None, 5)] for one in worlds]
    assert starts[0] == starts[1]
    assert starts[0][0] == starts[0][3]
    assert len(set(starts[0])) == 3
    fresh = [World(env).reset()[0]["observation"][0] for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_what_is_told_is_nobody_elses_and_the_state_is_of_one_world():
    env, one = made("line")
    obs, _ = one.reset(seed=1)
    obs["observation"][:] = 9
    one.goal[:] = 9
    assert one.obs != 9
    assert one.goal != 9
    assert one.state.shape == (1,)
    np.testing.assert_array_equal(env.observe(one.state), one.obs)


def test_choices_are_numbers_or_one_hot():
    env, one = made("boxes")
    assert one.action_space == spaces.Discrete(env.spec.action_dim)
    one.reset(seed=0)
    by_number = [one.step(choice)[0]["observation"] for choice in (0, np.int64(3))]
    one.reset(seed=0)
    by_row = [one.step(np.eye(env.spec.action_dim)[choice])[0]["observation"] for choice in (0, 3)]
    np.testing.assert_array_equal(by_number, by_row)
    for wrong in (env.spec.action_dim, -1, 0.5, True, [1, 1, 0, 0, 0, 0], "left"):
        with pytest.raises(UserError, match=r"action is .*; it must be a whole number in 0 …"):
            one.step(wrong)


def test_mistakes_are_told():
    one = World(line())
    for call in (lambda: one.step([0.0]), lambda: one.goal, lambda: setattr(one, "goal", [0.0])):
        with pytest.raises(UserError, match="call reset"):
            call()
    with pytest.raises(UserError, match=r"no option 'start'; its one option is 'goal'"):
        one.reset(options={"start": [0.0]})
    with pytest.raises(UserError, match=r"seed is -1; it must lie in"):
        one.reset(seed=-1)
    one.reset(seed=0)
    for wrong in ([0.0, 0.0], [np.nan], "there", [[0.0]]):
        with pytest.raises(UserError, match=r"goal is .*; of line it must be 1 finite numbers"):
            one.goal = wrong
        with pytest.raises(UserError, match=r"action is .*; of line it must be 1 finite numbers"):
            one.step(wrong)


def test_environments_are_made_by_name_with_settings():
    one = make_env("point_u_maze", episode_length=9, inertia=True)
    assert (one.env.spec.episode_length, one.observation_space["observation"].shape) == (9, (4,))
    with pytest.raises(UserError, match=r"no setting 'speed'; its settings are episode_length"):
        make_env("point_u_maze", speed=3)
    with pytest.raises(UserError, match="did you mean point_u_maze"):
        make_env("point_u_mazes")


def test_what_an_engine_has_open_is_closed_and_opens_again():
    closed = []
    env = drift()
    close = env.engine.close
    env = env._replace(engine=env.engine._replace(close=lambda: closed.append(close())))
    one = World(env)
    first, _ = one.reset(seed=2)
    one.close()
    one.close()
    assert len(closed) == 2
    with pytest.raises(UserError, match="call reset"):
        one.step([0.0, 0.0])
    np.testing.assert_array_equal(one.reset(seed=2)[0]["observation"], first["observation"])
