"""Rewards and returns against plain loops, and what the two kinds of rewards have to do with each other."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_relabel import HORIZON, KEY, THRESHOLD, history, naive, ring_of, spec

from goalward import replay
from goalward.returns import Returns, bounds, returns

KINDS = [
    Returns(steps, 0.9, reward, stop)
    for steps, reward, stop in product((1, 3, 7), ("minus_one_zero", "zero_one"), (False, True))
]
ALL = pytest.mark.parametrize(
    "asked", KINDS, ids=lambda asked: f"{asked.steps}-{asked.reward}-{asked.stop_at_goal}"
)


def by_a_loop(asked, success, left, failed):
    """The return of one row, step by step, and what the value after it counts."""
    away, there = (-1.0, 0.0) if asked.reward == "minus_one_zero" else (0.0, 1.0)
    total, weight = 0.0, 1.0
    for i in range(min(asked.steps, left)):
        total += weight * (there if success[i] else away)
        weight *= asked.discount
        if success[i] and asked.stop_at_goal:
            return total, 0.0
    if failed and left <= asked.steps:
        return total + sum(weight * asked.discount**k * away for k in range(2_000)), 0.0
    return total, weight


def some(asked, number=400, seed=0):
    random = np.random.default_rng(seed)
    left = random.integers(1, 2 * asked.steps + 2, number)
    return random.random((number, asked.steps)) < 0.3, left, random.random(number) < 0.5


def found(asked, success, left, failed):
    found = jax.jit(lambda *given: returns(asked, *given))(
        jnp.asarray(success), jnp.asarray(left, jnp.int32), jnp.asarray(failed)
    )
    return [np.asarray(leaf) for leaf in found]


@ALL
def test_returns_are_those_of_a_loop(asked):
    given = some(asked)
    wanted = [by_a_loop(asked, *row) for row in zip(*given, strict=True)]
    np.testing.assert_allclose(np.stack(found(asked, *given), axis=1), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_two_rewards_differ_by_what_never_reaching_costs(steps):
    """Q of −1 and 0 is Q of 0 and 1, less 1 / (1 − γ): where one stays, and where one falls."""
    one, zero = (Returns(steps, 0.9, reward, False) for reward in ("zero_one", "minus_one_zero"))
    given, never = some(one), 1 / (1 - 0.9)
    after = np.linspace(0, never, len(given[1]))
    reward, discount = found(one, *given)
    shifted, same = found(zero, *given)
    np.testing.assert_array_equal(discount, same)
    np.testing.assert_allclose(
        shifted + discount * (after - never), reward + discount * after - never, rtol=1e-5, atol=1e-5
    )


@ALL
def test_returns_are_within_their_bounds(asked):
    low, high = bounds(asked)
    reward, discount = found(asked, *some(asked, 4_000))
    assert np.all(reward + discount * low >= low - 1e-4)
    assert np.all(reward + discount * high <= high + 1e-4)


@ALL
def test_a_sample_is_told_what_its_actions_led_to(asked):
    """The row after n steps, or the last one of the episode, and the return: across the ring's seams too."""
    rows, sizes = history(200, 6, 2, 0.15, 3), [20] * (2 if asked.reward == "zero_one" else 10)
    inserted = sum(sizes)
    rows = rows._replace(goal=rows.obs[..., 2:] + np.float32(3.0))
    relabel = replay.Relabel(HORIZON, final=0.2, commanded=0.3, returns=asked)
    draw = jax.jit(lambda ring, key: replay.sample(ring, spec(2), relabel, 256, key))
    batch = draw(ring_of(rows, 80, sizes), KEY)
    obs, goal, after = np.asarray(batch.obs), np.asarray(batch.goal), jax.tree.map(np.asarray, batch.next)
    falls = 0
    for i in range(256):
        t, world = int(obs[i, 1]), int(obs[i, 0])
        told = naive(rows, inserted, t, world, goal[i], relabel._replace(window=1))
        steps = min(asked.steps, told.left)
        np.testing.assert_array_equal(after.obs[i], rows.obs[t + steps, world])
        later = rows.obs[t + 1 : t + 1 + asked.steps, world, 2:]
        success = np.linalg.norm(later - goal[i], axis=1) < THRESHOLD
        wanted = by_a_loop(asked, success, told.left, told.failed)
        np.testing.assert_allclose((after.reward[i], after.discount[i]), wanted, rtol=1e-5, atol=1e-6)
        falls += told.failed and told.left <= asked.steps
    assert falls > 3


def test_a_shift_moves_what_follows_too():
    ring = ring_of(history(60, 4, 2, 0.1, 0), 60, [60])
    relabel = replay.Relabel(HORIZON, returns=KINDS[0])
    batch = replay.sample(ring, spec(2), relabel, 32, KEY)
    moved = replay.shift(batch, ((2,), (3,)), lambda obs: obs[..., 2:], 2.0, KEY)
    by = np.asarray(moved.obs - batch.obs)
    assert np.all(by[:, 2:] != 0)
    np.testing.assert_allclose(moved.next.obs - batch.next.obs, by, atol=1e-5)
