"""Goals to practise: evenly over places, whatever was reached how often."""

import jax
import jax.numpy as jnp
import numpy as np
import toy
from scipy import stats

from goalward import practice, replay, training
from goalward.types import EnvSpec, Trajectory

SPEC = EnvSpec(3, 1, 2, 10, lambda obs: obs[..., :2], lambda a, g: jnp.linalg.norm(a - g, axis=-1), 0.5)


def ring(places, capacity):
    """An empty ring of two worlds, and the same with a row at each of the places, (T, 2), in both."""
    obs = jnp.repeat(jnp.pad(jnp.asarray(places, jnp.float32), ((0, 0), (0, 1)))[:, None], 2, axis=1)
    flags = jnp.zeros(obs.shape[:2], bool)
    block = Trajectory(obs, jnp.zeros((*flags.shape, 1)), obs[..., :2], flags.at[0].set(True), flags)
    empty = replay.init(jax.tree.map(lambda leaf: leaf[0], block), capacity)
    return empty, replay.insert(empty, block)


def test_goals_are_drawn_by_one_over_their_density():
    random = np.random.default_rng(0)
    goals = np.concatenate([random.normal(0, 0.2, (20, 2)), random.normal(3, 1.0, (6, 2))])
    density = np.array([sum(np.exp(-0.5 * (np.linalg.norm(a - b) / 0.7) ** 2) for b in goals) for a in goals])
    chosen = practice.evenly(jnp.asarray(goals, jnp.float32), SPEC.distance, 0.7, 20_000, jax.random.key(0))
    expected = 20_000 / density / np.sum(1 / density)
    found = np.bincount(np.asarray(chosen), minlength=len(goals))
    assert stats.chisquare(found, expected).pvalue > 1e-3
    assert stats.chisquare(found, np.full(len(goals), 20_000 / len(goals))).pvalue < 1e-12


def test_a_place_reached_once_in_a_hundred_rows_is_practised_as_often_as_the_other():
    places = np.where(np.arange(200)[:, None] % 100 == 7, [[40.0, 0.0]], [[0.0, 0.0]])
    goal = jnp.full((4000, 2), -1.0)
    commanded = np.asarray(practice.command(SPEC, 0.5, ring(places, 200)[1], goal, jax.random.key(1)))
    shares = [np.mean(np.all(commanded == place, axis=1)) for place in ([-1.0, -1.0], [0.0, 0.0], [40.0, 0.0])]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.05)


def test_only_what_the_ring_holds_is_practised():
    """Before its first row nothing; while it fills, none of the rows that are not there yet."""
    goal, (empty, half_full) = jnp.full((50, 2), -1.0), ring(np.full((3, 2), 5.0), 8)
    for rows, expected in ((empty, goal), (half_full, jnp.full((50, 2), 5.0))):
        commanded = practice.command(SPEC, 1.0, rows, goal, jax.random.key(0))
        np.testing.assert_array_equal(commanded, expected)


def test_worlds_practise_until_the_episode_ends_or_another_goal_is_drawn():
    experiment = training.build(toy.config(practised_goals=0.5))
    gather = jax.jit(training.gatherer(experiment))
    run, _ = gather(training.init(experiment))
    again, _ = gather(run)
    rows = again.replay.rows
    steps = experiment.config.steps_per_iteration
    before, after = (np.asarray(rows.goal[at]) for at in (steps - 1, steps))
    goes_on = ~np.asarray(rows.first[steps])
    changed = np.any(before != after, axis=1) & goes_on
    assert 0.2 < changed.sum() / goes_on.sum() < 0.8
    reached = np.asarray(experiment.env.spec.achieved(rows.obs[:steps])).reshape(-1, after.shape[1])
    for goal in after[changed]:
        assert np.any(np.all(reached == goal, axis=1))
