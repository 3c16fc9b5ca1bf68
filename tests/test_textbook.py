"""The plain method that ours is compared with: the same losses and gradients, and the law of its goals."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks import iteration, textbook
from goalward import agents
from goalward.agents.parts import Params, State
from goalward.config import CRLConfig, NetworkConfig, TrainConfig
from goalward.types import Batch, EnvSpec, Trajectory

OBS, ACTION, GOAL, SIZE = 3, 2, 2, 16
KEY = jax.random.key(0)
NETWORK = NetworkConfig(depth=4, block_size=2, width=8)
PAPER = CRLConfig(repr_dim=4)
RATE = 3e-4


def settings(**changes):
    sizes = {"batch_size": SIZE, "updates": 5, "window": 9, "action_dim": ACTION, "achieved": lambda obs: obs}
    return textbook.Settings(**(sizes | changes))


def moved(params):
    """Parameters none of which is 0 or 1, so that no two of a layer can be taken for each other."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: leaf + jnp.float32(0.2) * random.standard_normal(leaf.shape, np.float32), params
    )


def agent_with(network):
    spec = EnvSpec(OBS, ACTION, GOAL, 10, *[lambda *x: x[0]] * 2, threshold=1.0)
    return agents.make(TrainConfig("", agent=PAPER, network=network), spec)


@functools.cache
def both_updates():
    """State and metrics after one update, ours and the textbook's, from the same parameters, batch and key."""
    agent = agent_with(NETWORK)
    state = jax.jit(agent.init)(KEY)
    state = state._replace(params=moved(state.params))
    random = np.random.default_rng(1)
    batch = Batch(
        *(jnp.asarray(random.standard_normal((SIZE, d)), jnp.float32) for d in (OBS, ACTION, GOAL, GOAL))
    )
    plain = functools.partial(textbook.update, settings())
    return jax.jit(agent.update)(state, batch, KEY), jax.jit(plain)(textbook.from_goalward(state), batch, KEY)


def named_leaves(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


# --- one update ---


def test_losses_are_ours():
    (_, ours), (_, plain) = both_updates()
    for name in ("critic_loss", "actor_loss", "entropy", "alpha"):
        np.testing.assert_allclose(plain[name], ours[name], rtol=1e-4, err_msg=name)
    target = PAPER.target_entropy * ACTION
    np.testing.assert_allclose(
        plain["alpha_loss"], ours["alpha"] * (ours["entropy"] - target), rtol=1e-4, err_msg="alpha_loss"
    )


def parameters_and_gradients():
    """Pairs (name, ours, the textbook's), of all parameters after the update and of all gradients.

    Adam's first moment after one step is (1 − 0.9) times the gradient.
    """
    (ours, _), (plain, _) = both_updates()
    moments = Params(*(opt[0].mu for opt in ours.opt))
    expected = [textbook.from_goalward(State(tree, ours.opt))[:3] for tree in (ours.params, moments)]
    found = [plain[:3], tuple(opt[0].mu for opt in plain.opt)]
    return [
        [(name, a, b) for (name, a), (_, b) in zip(named_leaves(x), named_leaves(y), strict=True)]
        for x, y in zip(expected, found, strict=True)
    ]


def test_gradients_are_ours():
    _, gradients = parameters_and_gradients()
    for name, ours, plain in gradients:
        np.testing.assert_allclose(plain, ours, rtol=1e-3, atol=1e-5 * np.abs(ours).max(), err_msg=name)


def test_parameters_after_an_update_are_ours():
    """Adam's first step is the sign of the gradient times its rate, and the sign of rounding where that is 0.

    So parameters agree closely where the gradient is well above rounding, and elsewhere to two steps.
    """
    parameters, gradients = parameters_and_gradients()
    clear = 0
    for (name, ours, plain), (_, moment, _) in zip(parameters, gradients, strict=True):
        is_clear = np.abs(moment) > 1e-5
        clear += np.sum(is_clear)
        error = np.abs(np.asarray(plain) - np.asarray(ours))
        assert np.all(error < np.where(is_clear, RATE / 100, 2.01 * RATE)), name
    assert clear > 0.9 * sum(moment.size for _, moment, _ in gradients)


def test_other_layers_are_refused():
    config = NetworkConfig(depth=1, block_size=1, width=4, layer_norm=False)
    agent = agent_with(config)
    with pytest.raises(ValueError, match="layer_norm=False"):
        textbook.from_goalward(jax.eval_shape(agent.init, KEY))


# --- rows and goals ---

DISCOUNT = 0.8
# A window that begins within an episode; then one of two rows, one of a single row, and one that goes on.
FIRST = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0], bool)


def exact_law(first):
    """P(j | i), row by row: ∝ γ^(j − i) on the later rows of i's episode; i itself where there is none."""
    law = np.zeros((len(first), len(first)))
    for i in range(len(first)):
        later = [j for j in range(i + 1, len(first)) if not first[i + 1 : j + 1].any()]
        law[i, later or i] = [DISCOUNT ** (j - i) for j in later] or 1
    return law / law.sum(axis=1, keepdims=True)


def test_future_rows_follow_the_truncated_geometric_law():
    draws, law = 20_000, exact_law(FIRST)
    draw = jax.jit(jax.vmap(lambda key: textbook.future_rows(jnp.asarray(FIRST), DISCOUNT, key)))
    future = np.asarray(draw(jax.random.split(KEY, draws)))
    counts = np.stack([np.bincount(column, minlength=len(FIRST)) for column in future.T])
    possible = law > 0
    assert np.all(counts[~possible] == 0)  # in particular, none in another episode, and none in the past
    expected = draws * law[possible]
    statistic = np.sum((counts[possible] - expected) ** 2 / expected)
    assert stats.chi2.sf(statistic, np.sum(possible) - len(FIRST)) > 1e-3


def counters(capacity, worlds, chance=0.3):
    """Rows that say what they are: obs is (world, episode, time); the action is the time."""
    first = np.random.default_rng(0).random((capacity, worlds)) < chance
    time, world = np.mgrid[:capacity, :worlds]
    obs = np.stack([world, np.cumsum(first, axis=0), time], axis=-1).astype(np.float32)
    return jax.tree.map(jnp.asarray, Trajectory(obs, obs[..., 2:], obs[..., :1], first, first))


def test_samples_are_pairs_of_one_episode():
    rows = counters(40, 3)
    batches = jax.jit(functools.partial(textbook.sample, settings(updates=50)))(rows, KEY)
    assert batches.obs.shape == (50, SIZE, 3)
    obs, action, goal, commanded = (np.asarray(leaf).reshape(50 * SIZE, -1) for leaf in batches[:4])
    np.testing.assert_array_equal(action[:, 0], obs[:, 2])
    np.testing.assert_array_equal(commanded[:, 0], obs[:, 0])
    np.testing.assert_array_equal(goal[:, :2], obs[:, :2])
    world, time = obs[:, 0].astype(int), obs[:, 2].astype(int)
    ends = np.roll(rows.first, -1, axis=0)[time, world]
    np.testing.assert_array_equal(goal[:, 2] > time, ~ends)
    assert set(world) == {0, 1, 2}
    assert time.min() == 0
    assert time.max() == 38  # the last row of a window is left out


def test_insert_drops_the_oldest_rows():
    rows = counters(10, 2)
    old, chunk = (jax.tree.map(lambda leaf, s=s: leaf[s], rows) for s in (slice(0, 7), slice(7, 10)))
    for found, expected in zip(textbook.insert(old, chunk), rows, strict=True):
        np.testing.assert_array_equal(found, expected[3:])


# --- the measurement ---


@pytest.mark.slow
@pytest.mark.parametrize("env", ["point_u4_maze", "ant_u4_maze"])
def test_an_iteration_of_both_is_measured(capsys, env):
    args = iteration.Args(
        env=env, depth=4, width=4, batch_size=4, num_envs=2, steps=5, updates=3, buffer_rows=12, window=6,
        json=True,
    )  # fmt: skip
    iteration.main(args)
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"ours", "textbook", "ratio"}
    for method in ("ours", "textbook"):
        assert set(figures[method]) == {"collect_s", "insert_s", "sample_s", "iteration_s"}
        assert all(seconds > 0 for seconds in figures[method].values())
    assert figures["ratio"] == figures["textbook"]["iteration_s"] / figures["ours"]["iteration_s"]
