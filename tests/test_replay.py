import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from goalward import replay
from goalward.types import Batch, EnvSpec, Trajectory

KEY = jax.random.key(0)
insert = jax.jit(replay.insert)


def counters(first):
    """Rows that say what they are: obs is (world, episode, row of the episode, absolute time).

    The action is the absolute time too. `first` is (T, N); row 0 starts an episode in any case.
    """
    first = np.array(first, bool).reshape(len(first), -1)
    first[0] = True
    steps, worlds = first.shape
    time = np.broadcast_to(np.arange(steps)[:, None], first.shape)
    start = np.maximum.accumulate(np.where(first, time, 0), axis=0)
    world = np.broadcast_to(np.arange(worlds), first.shape)
    obs = np.stack([world, np.cumsum(first, axis=0), time - start, time], axis=-1).astype(np.float32)
    return Trajectory(obs, obs[..., 3:], -obs[..., :2], first, np.roll(first, -1, axis=0))


def random_first(steps, worlds, chance, seed=0):
    """Episodes of random lengths, at least two rows each."""
    first = np.random.default_rng(seed).random((steps, worlds)) < chance
    for t in range(1, steps):
        first[t] &= ~first[t - 1]
    first[1] = False
    return first


def empty(stream, capacity):
    return replay.init(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), stream), capacity)


def filled(stream, capacity, sizes):
    """A ring of `capacity` after chunks of these sizes, one after another."""
    ring, at = empty(stream, capacity), 0
    for size in sizes:
        ring = insert(ring, jax.tree.map(lambda leaf, at=at, size=size: leaf[at : at + size], stream))
        at += size
    return ring


def naive_last(first, inserted, capacity):
    """For each slot, walk forward from its row to the end of its episode, as far as it is known."""
    last = np.full((capacity, first.shape[1]), -2)
    for t in range(max(0, inserted - capacity), inserted):
        for world in range(first.shape[1]):
            end = t
            while end + 1 < inserted and not first[end + 1, world]:
                end += 1
            last[t % capacity, world] = end
    return last


# All samples below come from rings of one shape, so that each horizon is compiled once.
CAPACITY, WORLDS, DRAWS = 16, 16, 1 << 15
# A goal is the whole observation.
SPEC = EnvSpec(4, 1, 4, 100, lambda obs: obs, lambda a, g: jnp.max(jnp.abs(a - g), axis=-1), 0.5)


@functools.cache
def sampler(horizon):
    relabel = replay.Relabel(replay.HORIZONS[horizon](0.7))
    return jax.jit(lambda ring, key: replay.sample(ring, SPEC, relabel, DRAWS, key))


def random_ring(rows, chance=0.3):
    stream = counters(random_first(60, WORLDS, chance))
    return stream, filled(stream, CAPACITY, [5] * (rows // 5))


# --- insertion ---


def test_small_case_by_hand():
    """Two episodes in a ring of six rows; then the second goes on, a third begins, and two rows are lost."""
    stream = counters([1, 0, 0, 1, 0, 0, 1, 0])
    ring = filled(stream, 6, [5])
    assert ring.inserted == 5
    np.testing.assert_array_equal(ring.last[:, 0], [2, 2, 2, 4, 4, -2])
    ring = filled(stream, 6, [5, 3])
    np.testing.assert_array_equal(ring.rows.obs[:, 0, 3], [6, 7, 2, 3, 4, 5])
    np.testing.assert_array_equal(ring.last[:, 0], [7, 7, 2, 5, 5, 5])


def test_ring_overwrites_the_oldest_rows():
    stream = counters(random_first(20, 3, 0.3))
    ring = filled(stream, 8, [5, 5, 5, 5])
    for kept, written in zip(ring.rows, stream, strict=True):
        np.testing.assert_array_equal(np.roll(kept, 20 % 8 * -1, axis=0), written[12:])


@pytest.mark.parametrize("sizes", [[4, 4, 4], [1] * 12, [5, 7]])
def test_chunks_equal_one_long_chunk(sizes):
    stream = counters(random_first(24, 8, 0.2))
    whole, parts = filled(stream, 16, [12, 12]), filled(stream, 16, [12, *sizes])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("chance", [0.02, 0.2, 0.6])
def test_last_is_the_end_of_each_rows_episode(chance):
    """Many random patterns at once, one in each world, before and after the ring is full."""
    first = random_first(60, 64, chance)
    stream = counters(first)
    ring = empty(stream, 16)
    for at in range(0, 60, 5):
        ring = insert(ring, jax.tree.map(lambda leaf, at=at: leaf[at : at + 5], stream))
        np.testing.assert_array_equal(ring.last, naive_last(stream.first, at + 5, 16))


def test_episode_longer_than_the_ring_keeps_its_end():
    ring = filled(counters(np.zeros((30, 1))), 8, [5] * 6)
    np.testing.assert_array_equal(ring.last, 29)


def test_chunk_larger_than_the_ring_is_refused():
    stream = counters(np.zeros((9, 2)))
    with pytest.raises(ValueError, match="a block of 9 rows does not fit into a ring of 8"):
        replay.insert(empty(stream, 8), stream)


# --- sampling ---


@pytest.mark.parametrize("horizon", replay.HORIZONS)
@pytest.mark.parametrize("rows", [10, 55], ids=["filling", "wrapped"])
def test_goal_lies_later_in_the_same_episode(horizon, rows):
    _, ring = random_ring(rows)
    batch = sampler(horizon)(ring, KEY)
    obs, goal = np.asarray(batch.obs), np.asarray(batch.goal)
    np.testing.assert_array_equal(obs[:, :2], goal[:, :2])  # world and episode
    np.testing.assert_array_equal(goal[:, 3] - obs[:, 3], goal[:, 2] - obs[:, 2])
    assert np.all(goal[:, 3] > obs[:, 3])
    assert obs[:, 3].min() == max(0, rows - CAPACITY)
    assert goal[:, 3].max() == rows - 1
    np.testing.assert_array_equal(batch.action[:, 0], obs[:, 3])
    np.testing.assert_array_equal(batch.commanded, -obs[:, :2])


@pytest.mark.parametrize("rows", [10, 55], ids=["filling", "wrapped"])
def test_rows_with_a_future_are_drawn_uniformly_and_others_never(rows):
    stream, ring = random_ring(rows)
    last = naive_last(stream.first, rows, CAPACITY)
    times = np.arange(max(0, rows - CAPACITY), rows)
    has_future = last[times % CAPACITY] > times[:, None]
    assert 0 < has_future.sum() < has_future.size
    obs = np.asarray(sampler("uniform")(ring, KEY).obs, int)
    counts = np.zeros(has_future.shape, int)
    np.add.at(counts, (obs[:, 3] - times[0], obs[:, 0]), 1)
    assert not counts[~has_future].any()
    assert stats.chisquare(counts[has_future]).pvalue > 1e-3


def test_row_and_steps_ahead_follow_their_joint_law():
    """One episode of six rows: P(t, k) = γᵏ / Σ_{j ≤ K} γʲ / 5 with K = 5 − t."""
    ring = filled(counters(np.zeros((6, WORLDS))), CAPACITY, [5, 1])
    batch = sampler("truncated_geometric")(ring, KEY)
    time, goal = np.asarray(batch.obs[:, 3], int), np.asarray(batch.goal[:, 3], int)
    pairs = [(t, t + k) for t in range(5) for k in range(1, 6 - t)]
    law = [0.7 ** (g - t) / sum(0.7**j for j in range(1, 6 - t)) / 5 for t, g in pairs]
    counts = [np.sum((time == t) & (goal == g)) for t, g in pairs]
    assert stats.chisquare(counts, np.array(law) * DRAWS).pvalue > 1e-3


def test_sampling_needs_no_jit():
    _, ring = random_ring(55)
    plain = replay.sample(ring, SPEC, replay.Relabel(replay.truncated_geometric(0.7)), DRAWS, KEY)
    for a, b in zip(sampler("truncated_geometric")(ring, KEY), plain, strict=True):
        np.testing.assert_array_equal(a, b)


def test_samples_depend_on_the_key_alone():
    _, ring = random_ring(55)
    draw = sampler("truncated_geometric")
    np.testing.assert_array_equal(draw(ring, KEY).goal, draw(ring, KEY).goal)
    assert np.any(draw(ring, KEY).goal != draw(ring, jax.random.key(1)).goal)


def test_least_rows_always_hold_a_row_with_a_future():
    """Whatever the episodes, as long as each has two rows."""
    for pattern in ([0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 1]):
        ring = filled(counters(pattern), replay.MIN_ROWS, [5 - replay.MIN_ROWS, replay.MIN_ROWS])
        time = np.arange(5 - replay.MIN_ROWS, 5)
        assert np.any(np.asarray(ring.last)[time % replay.MIN_ROWS, 0] > time)


def test_a_batch_is_shifted_as_one_along_its_axes_alone():
    """Observations are [x, other, y, x of a thing]; the goal is (y, x of the thing)."""
    obs, goal, commanded = (
        jax.random.normal(jax.random.key(i), (64, size)) for i, size in enumerate((4, 2, 2))
    )
    batch = Batch(obs, jnp.zeros((64, 1)), goal, commanded)
    axes = ((0, 3), (2,))
    move = jax.jit(lambda key: replay.shift(batch, axes, lambda obs: obs[..., 2:], 3.0, key))
    moved = move(KEY)
    by = np.asarray(moved.obs - obs)
    np.testing.assert_allclose(by, np.tile(by[0], (64, 1)), atol=1e-5)
    assert by[0, 1] == 0
    assert by[0, 0] == pytest.approx(by[0, 3], abs=1e-5)
    assert abs(by[0, 0] - by[0, 2]) > 0.1
    for new, old in ((moved.goal, goal), (moved.commanded, commanded)):
        np.testing.assert_allclose(new - old, by[:, 2:], atol=1e-5)
    np.testing.assert_array_equal(moved.action, batch.action)
    amounts = [float(move(jax.random.key(i)).obs[0, 0] - obs[0, 0]) for i in range(300)]
    assert np.std(amounts) == pytest.approx(3.0, rel=0.2)


# --- horizons ---

LAWS = {
    "truncated_geometric": lambda k, discount, steps: discount**k / sum(discount ** np.arange(1, steps + 1)),
    "clipped_geometric": lambda k, discount, steps: np.where(
        k < steps, (1 - discount) * discount ** (k - 1), discount ** (steps - 1)
    ),
    "uniform": lambda k, discount, steps: np.full(len(k), 1 / steps),
}
U_GRID = np.float32((np.arange(1 << 20) + 0.5) / (1 << 20))
LARGEST_U = np.float32(1 - 2**-24)


@pytest.mark.parametrize("horizon", replay.HORIZONS)
@pytest.mark.parametrize("discount", [0.5, 0.99, 0.9999])
def test_horizon_has_its_exact_probabilities(horizon, discount):
    """An even grid of u in place of random numbers: shares are exact to the grid and to float32."""
    draw = jax.jit(replay.HORIZONS[horizon](discount))
    for steps_left in (1, 2, 7, 1000):
        ahead = np.asarray(draw(U_GRID, np.full(U_GRID.shape, steps_left, np.int32)))
        assert ahead.min() >= 1
        assert ahead.max() <= steps_left
        shares = np.bincount(ahead, minlength=steps_left + 1)[1:] / len(ahead)
        exact = LAWS[horizon](np.arange(1, steps_left + 1), discount, steps_left)
        np.testing.assert_allclose(shares, exact, atol=1e-4 if discount < 0.999 else 3e-4)


@pytest.mark.parametrize("horizon", ["truncated_geometric", "clipped_geometric"])
def test_a_discount_near_1_means_what_it_says(horizon):
    """In 32 bits 1 − 10⁻⁶ is rounded so that the median would be 1.3 % shorter."""
    draw, endless = replay.HORIZONS[horizon](1 - 1e-6), jnp.full(1, 10**9, jnp.int32)
    assert int(draw(jnp.full(1, 0.5), endless)[0]) == pytest.approx(np.log(2) * 1e6, rel=1e-4)


@pytest.mark.parametrize("horizon", replay.HORIZONS)
@pytest.mark.parametrize("discount", [1e-6, 0.5, 0.99, 1 - 1e-6])
def test_horizon_stays_within_the_episode_at_the_ends_of_u(horizon, discount):
    steps_left = np.int32([1, 2, 3, 1000, 1_000_000])
    draw = jax.jit(replay.HORIZONS[horizon](discount))
    for u in (np.float32(0), LARGEST_U):
        ahead = np.asarray(draw(np.full(5, u), steps_left))
        assert np.all((ahead >= 1) & (ahead <= steps_left))
    np.testing.assert_array_equal(draw(np.zeros(5, np.float32), steps_left), 1)
