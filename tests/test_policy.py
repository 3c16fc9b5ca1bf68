"""A trained policy: what it does, and what it refuses."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

import goalward
from goalward import checkpoint, policy, runs, training
from goalward.errors import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def loaded(trained):
    return goalward.load_policy(trained)


def draw(*shape):
    return np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)


def test_actions_are_the_agents_greedy_ones(trained, loaded):
    obs, goal = draw(2, 5, 2)
    experiment, run = policy.load_experiment(trained)
    assert int(run.updates) == 6 * toy.UPDATES
    actions = loaded.act(obs, goal)
    assert actions.shape == (5, 2)
    np.testing.assert_allclose(
        actions,
        experiment.agent.exploit(run.agent, *map(jnp.asarray, (obs, goal)), jax.random.key(0)),
        atol=1e-6,
    )
    assert np.all(np.abs(actions) < 1)
    assert len(np.unique(actions, axis=0)) == 5
    np.testing.assert_array_equal(actions, loaded.act(obs, goal))


def test_one_observation_gives_the_action_it_has_in_a_batch(loaded):
    obs, goal = draw(2, 5, 2)
    actions = loaded.act(obs, goal)
    for i in range(5):
        action = loaded.act(obs[i], goal[i])
        assert action.shape == (2,)
        np.testing.assert_allclose(action, actions[i], atol=1e-6)
    np.testing.assert_allclose(loaded.act(obs[0].tolist(), goal[0].astype(float)), actions[0], atol=1e-6)


@pytest.mark.parametrize(
    ("obs", "goal", "told"),
    [
        ((3,), (2,), ["obs has shape (3,)", "(2,) or (N, 2)"]),
        ((2,), (1,), ["goal has shape (1,)", "(2,) or (N, 2)"]),
        ((), (2,), ["obs has shape ()"]),
        ((4, 5, 2), (4, 5, 2), ["obs has shape (4, 5, 2)"]),
        ((5, 2), (4, 2), ["equal numbers", "(5, 2)", "(4, 2)"]),
        ((5, 2), (2,), ["equal numbers", "(5, 2)", "(2,)"]),
    ],
)
def test_wrong_shapes_are_refused(loaded, obs, goal, told):
    with pytest.raises(UserError) as caught:
        loaded.act(draw(*obs), draw(*goal))
    assert all(part in str(caught.value) for part in told), caught.value


@pytest.mark.parametrize(
    ("obs", "goal", "told"),
    [
        ("ab", [0, 0], "obs is 'ab'; it must be numbers, (2,) or (N, 2)"),
        (["0", "1"], [0, 0], "obs is ['0', '1']; it must be numbers"),
        ([1j, 0], [0, 0], "obs is [1j, 0]; it must be numbers"),
        ([0, 0], [10**400, 0], "it must be numbers, (2,) or (N, 2)"),
        ([[0, 0], [0, np.nan]], np.zeros((2, 2)), "obs holds nan (row 1, element 1)"),
        ([0, 0], [1e300, 0], "goal holds inf (row 0, element 0)"),
    ],
)
def test_what_is_no_number_is_refused(loaded, obs, goal, told):
    with pytest.raises(UserError, match=re.escape(told)):
        loaded.act(obs, goal)


def test_the_best_policy_is_that_of_the_best_checkpoint(trained, tmp_path):
    run = toy.copy(trained, tmp_path / "run")
    saved = checkpoint.list_saved(runs.checkpoints(run))
    for i, entry in enumerate(saved):  # the oldest is now the best
        again = checkpoint.restore(entry, training.shapes(training.build(toy.config())))
        state = entry.state | {"score": 1.0 - i / 10}
        checkpoint.save(runs.checkpoints(run), entry.iteration, again, state)
    found = [int(policy.load_experiment(run, best=best)[1].updates) for best in (True, False)]
    assert found == [entry.iteration * toy.UPDATES for entry in (saved[0], saved[-1])]
    obs, goal = draw(2, 5, 2)
    best, latest = (policy.load_policy(run, best=best).act(obs, goal) for best in (True, False))
    assert np.any(best != latest)
    np.testing.assert_allclose(latest, policy.load_policy(trained).act(obs, goal), atol=1e-6)


def test_a_policy_is_evaluated_on_other_goals_of_its_maze(trained):
    ours = policy.evaluate(trained, episodes=16)
    same = policy.evaluate(trained, env="point_u_maze", episodes=16)
    assert same == ours
    other = policy.evaluate(trained, env="point_u_maze_single_eval", episodes=16)
    assert other["episodes"] == 16
    assert len(ours["by_goal"]) > len(other["by_goal"]) == 1
    with pytest.raises(UserError, match="env point_u4_maze has another maze than point_u_maze"):
        policy.evaluate(trained, env="point_u4_maze")


def test_a_policy_that_explores_is_evaluated_from_the_same_starts(trained):
    ours, found = (policy.evaluate(trained, episodes=16, explore=explore) for explore in (False, True))
    assert found["final_distance"] != ours["final_distance"]
    assert [one["goal"] for one in found["by_goal"]] == [one["goal"] for one in ours["by_goal"]]
    assert found["random_final_distance"] == ours["random_final_distance"]
    assert goalward.load_run(trained).evaluate(episodes=16, explore=True) == found


def test_a_directory_without_a_policy_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match="none does not exist; name a run, an exported policy"):
        policy.load_policy(tmp_path / "none")
    run = toy.copy(trained, tmp_path / "run")
    shutil.rmtree(runs.checkpoints(run))
    with pytest.raises(UserError, match="has no checkpoint yet"):
        policy.load_policy(str(run))
