"""What a sample says of its row's future, against plain loops over all rows that ever were."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from goalward import reach, replay
from goalward.types import EnvSpec, Trajectory

KEY = jax.random.key(0)
THRESHOLD = 2.1  # no two places of a lattice are apart by it, its half or its quarter
HORIZON = replay.truncated_geometric(0.8)
insert = jax.jit(replay.insert)


def spec(goal_dim, alike=None):
    """Observations are (world, time, place); the goal is a place."""

    def distance(achieved, goal):
        return jnp.sqrt(jnp.sum((achieved - goal) ** 2, axis=-1))

    return EnvSpec(2 + goal_dim, 2, goal_dim, 50, lambda obs: obs[..., 2:], distance, THRESHOLD, alike=alike)


def history(rows, worlds, goal_dim, chance, seed):
    """Walks on a lattice; episodes have two rows or more, and half of them end in a termination."""
    rng = np.random.default_rng(seed)
    first = rng.random((rows, worlds)) < chance
    first[0] = True
    for t in range(1, rows):
        first[t] &= ~first[t - 1]
    terminated = np.roll(first, -1, axis=0) & (rng.random(first.shape) < 0.5)
    moves = rng.integers(-1, 2, (rows, worlds, goal_dim))
    place = np.cumsum(moves, axis=0) + first[..., None] * rng.integers(-3, 4, moves.shape)
    time, world = np.indices(first.shape)
    obs = np.concatenate([world[..., None], time[..., None], place], axis=-1).astype(np.float32)
    action = rng.normal(size=(rows, worlds, 2)).astype(np.float32)
    return Trajectory(obs, action, np.zeros((rows, worlds, goal_dim), np.float32), first, terminated)


def ring_of(rows, capacity, sizes):
    """The ring after chunks of these sizes, one after another."""
    ring, at = replay.init(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows), capacity), 0
    for size in sizes:
        ring = insert(ring, jax.tree.map(lambda leaf, at=at, size=size: leaf[at : at + size], rows))
        at += size
    return ring


class Told(NamedTuple):
    """What `Batch` says of one sample, by plain loops."""

    action: np.ndarray
    valid: bool
    left: int
    failed: bool
    reached: bool
    steps: int
    near: list
    observed: list


def naive(rows, inserted, t, world, goal, relabel):
    end = t
    while end + 1 < inserted and not rows.first[end + 1, world]:
        end += 1
    left, failed = end - t, bool(rows.terminated[end, world])
    chunk = [rows.action[t + i, world] if i < left else np.zeros(2) for i in range(relabel.chunk)]
    apart = [float(np.linalg.norm(rows.obs[t + i, world, 2:] - goal)) for i in range(left + 1)]
    hits = [i for i in range(min(left, relabel.window) + 1) if apart[i] < THRESHOLD]
    unreached = min(relabel.window, left)
    if failed or relabel.censoring == "window":
        unreached = relabel.window
    near, observed = [], []
    for low, high in zip(relabel.occupancy, relabel.occupancy[1:], strict=False):
        seen = []
        for i in range(low, min(high, relabel.window + 1)):
            if i <= left:
                seen.append(np.mean([apart[i] <= THRESHOLD / 2**halved for halved in range(3)]))
            elif failed:
                seen.append(0.0)
        near.append(np.mean(seen) if seen else 0.0)
        observed.append(bool(seen))
    steps = hits[0] if hits else unreached
    return Told(np.concatenate(chunk), left >= relabel.chunk, left, failed, bool(hits), steps, near, observed)


def told_of(batch):
    """The same of a whole batch, leaves (B, …)."""
    parts = (batch.action, batch.valid, batch.left, batch.failed, *batch.reach)
    return [np.asarray(part) for part in parts]


def expected(rows, inserted, batch, relabel):
    obs = np.asarray(batch.obs)
    samples = zip(obs[:, 1].astype(int), obs[:, 0].astype(int), np.asarray(batch.goal), strict=True)
    return [np.array(leaf) for leaf in zip(*[naive(rows, inserted, *s, relabel) for s in samples], strict=True)]


def assert_told(batch, wanted):
    for name, got, leaf in zip(Told._fields, told_of(batch), wanted, strict=True):
        np.testing.assert_allclose(got, leaf, atol=1e-6, err_msg=name)


# (rows in all, worlds, goal's dimensions, chance of an end, capacity, rows of an insert, window, slab, edges)
CASES = {
    "short episodes, filling": (30, 6, 1, 0.3, 40, 10, 8, 4, (1, 2, 3, 5, 9)),
    "short episodes, wrapped": (95, 6, 2, 0.2, 24, 5, 9, 4, (1, 2, 4, 7, 12)),
    "episodes longer than the window": (120, 5, 1, 0.03, 50, 7, 12, 5, (1, 2, 4, 8, 13, 20)),
    "one endless episode": (100, 5, 2, 0.0, 40, 10, 60, 16, (1, 3, 10, 30, 60)),
    "window of one step": (60, 5, 2, 0.2, 20, 3, 1, 4, (1, 2, 5)),
    "ring shorter than a slab": (60, 5, 1, 0.1, 9, 4, 30, 64, (1, 2, 4, 8, 16, 31)),
    "true slabs": (420, 4, 1, 0.004, 300, 60, 290, reach.SLAB, (1, 2, 10, 100, 200, 291)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("censoring", ["observed", "window"])
def test_a_sample_is_told_its_future(case, censoring, monkeypatch):
    number, worlds, dim, chance, capacity, size, window, slab, edges = CASES[case]
    monkeypatch.setattr(reach, "SLAB", slab)
    relabel = replay.Relabel(
        HORIZON, 0.1, 0.4, chunk=3, outcomes=True, window=window, censoring=censoring, occupancy=edges
    )
    draw = jax.jit(lambda ring, key: replay.sample(ring, spec(dim), relabel, 64, key))
    every = []
    for seed in range(3):
        rows = history(number, worlds, dim, chance, seed)
        for inserts in (number // size // 2, number // size):
            ring = ring_of(rows, capacity, [size] * inserts)
            batch = draw(ring, jax.random.key(seed))
            wanted = expected(rows, size * inserts, batch, relabel)
            assert_told(batch, wanted)
            every.append(wanted)
    by_name = dict(zip(Told._fields, map(np.concatenate, zip(*every, strict=True)), strict=True))
    assert {True, False} == set(by_name["reached"])
    assert {True, False} == set(by_name["valid"]) or chance == 0
    assert {True, False} == set(by_name["failed"]) or chance < 0.03
    assert by_name["near"].max() > 0.3


@functools.cache
def middling():
    """A wrapped ring with a bit of everything, and what is asked of it."""
    return ring_of(history(200, 6, 2, 0.05, 1), 80, [20] * 10), replay.Relabel(
        HORIZON, 0.05, 0.25, chunk=2, outcomes=True, window=40, occupancy=(1, 2, 5, 11, 41)
    )


def assert_equal_batches(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_it_needs_no_jit_and_no_index_and_scans():
    ring, relabel = middling()
    indexed = replay.index(ring, spec(2), relabel)
    assert replay.index(indexed, spec(2), relabel).places is indexed.places
    keys = jax.random.split(KEY, 2)
    plain = [replay.sample(ring, spec(2), relabel, 32, key) for key in keys]
    draw = jax.jit(lambda ring, key: replay.sample(ring, spec(2), relabel, 32, key))
    scanned = jax.jit(lambda ring: jax.lax.scan(lambda _, key: (None, draw(ring, key)), None, keys)[1])
    assert_equal_batches(plain, [draw(indexed, key) for key in keys])
    assert_equal_batches(jax.tree.map(lambda *leaves: jnp.stack(leaves), *plain), scanned(indexed))


def test_samples_searched_together_or_one_by_one_are_told_the_same(monkeypatch):
    """On a CPU each is searched for itself, elsewhere all go on until the last one is through."""
    monkeypatch.setattr(reach, "SLAB", 8)
    ring, relabel = middling()
    asked = [relabel, relabel._replace(occupancy=())]
    alone = [replay.sample(ring, spec(2), one, 64, KEY) for one in asked]
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda inputs, cpu, default: default(inputs))
    assert_equal_batches(alone, [replay.sample(ring, spec(2), one, 64, KEY) for one in asked])


def test_what_is_not_asked_for_is_not_told_and_changes_nothing_else():
    """Rows, goals and times do not depend on what else is asked for."""
    ring, relabel = middling()
    full = replay.sample(ring, spec(2), relabel, 32, KEY)
    bare = replay.sample(ring, spec(2), relabel._replace(outcomes=False, window=None, chunk=1), 32, KEY)
    assert (bare.valid, bare.left, bare.failed, bare.reach) == (None,) * 4
    assert_equal_batches(bare[:1] + bare[2:4], full[:1] + full[2:4])
    np.testing.assert_array_equal(bare.action, full.action[:, :2])
    times = replay.sample(ring, spec(2), relabel._replace(occupancy=()), 32, KEY).reach
    assert (times.near, times.observed) == (None, None)
    assert_equal_batches(times[:2], full.reach[:2])


def test_a_new_row_makes_an_index_anew():
    rows = history(100, 4, 1, 0.1, 0)
    relabel = replay.Relabel(HORIZON, window=20)
    ring = replay.index(ring_of(rows, 40, [40]), spec(1), relabel)
    newer = insert(ring, jax.tree.map(lambda leaf: leaf[40:70], rows))
    assert newer.places is None
    assert_equal_batches(newer, ring_of(rows, 40, [40, 30]))


def test_a_goal_is_reached_only_where_all_else_is_alike():
    """Of a pair of numbers the second has to agree, however near they are."""

    def alike(achieved, goal):
        return achieved[..., 1] == goal[..., 1]

    def told(*apart):
        goal = jnp.zeros((1, 2))
        row = jnp.broadcast_to(jnp.float32(apart), (4, 1, 2))
        future = reach.Future(*jnp.zeros((2, 1), jnp.int32), jnp.full(1, 3), jnp.zeros(1, bool))
        found = reach.reach(reach.places(row), spec(2, alike), future, goal, 3, "observed", (1, 3))
        return bool(found.reached[0]), int(found.steps[0]), float(found.near[0, 0])

    assert told(0, 0) == (True, 0, 1.0)
    assert told(1, 0) == (True, 0, pytest.approx(2 / 3))
    assert told(0, 1) == (False, 3, 0.0)
    assert told(3, 0) == (False, 3, 0.0)


# --- kinds of goals ---

CAPACITY, WORLDS, DRAWS = 12, 8, 1 << 16
WHEN = EnvSpec(3, 2, 3, 50, lambda obs: obs, lambda a, g: jnp.max(jnp.abs(a - g), axis=-1), 0.5)


@pytest.mark.parametrize(
    "shares",
    [
        {"current": 0.05, "random": 0.1},
        {"random": 0.5},
        {"current": 0.3, "random": 0.7},
        {"current": 1.0},
        {"current": 0.2},
        {"final": 0.8, "commanded": 0.2},
        {"commanded": 1.0},
        {"current": 0.1, "random": 0.2, "final": 0.3, "commanded": 0.15},
    ],
)
def test_goals_are_of_each_kind_in_its_share(shares):
    """P(goal's time | row's time) is a mixture of the kinds' laws; the last column is of commanded goals."""
    rows, inserted = history(40, WORLDS, 1, 0.2, 0), 40
    rows = rows._replace(goal=rows.obs * np.array([1, 0, 0], np.float32) + np.array([0, -1, 0], np.float32))
    ring = ring_of(rows, CAPACITY, [10] * 4)
    relabel = replay.Relabel(replay.uniform(0.5), **shares)
    batch = jax.jit(lambda key: replay.sample(ring, WHEN, relabel, DRAWS, key))(KEY)
    obs, goal = np.asarray(batch.obs, int), np.asarray(batch.goal, int)
    np.testing.assert_array_equal(obs[:, 0], goal[:, 0])  # the world
    oldest, law = inserted - CAPACITY, np.zeros((WORLDS, CAPACITY, CAPACITY + 1))
    for world in range(WORLDS):
        for t in range(oldest, inserted):
            left = naive(rows, inserted, t, world, np.zeros(1), relabel._replace(window=1)).left
            if left == 0:
                continue
            of_goal = np.full(CAPACITY + 1, relabel.random / CAPACITY)
            of_goal[-1] = relabel.commanded
            of_goal[t - oldest] += relabel.current
            of_goal[t - oldest + left] += relabel.final
            of_goal[t - oldest + 1 : t - oldest + 1 + left] += (1 - sum(shares.values())) / left
            law[world, t - oldest] = of_goal
    counts = np.zeros(law.shape)
    column = np.where(goal[:, 1] == -1, CAPACITY, goal[:, 1] - oldest)
    np.add.at(counts, (obs[:, 0], obs[:, 1] - oldest, column), 1)
    likely = law > 1e-9
    assert not counts[~likely].any()
    assert stats.chisquare(counts[likely], law[likely] / law.sum() * DRAWS).pvalue > 1e-3


def test_kinds_of_goals_draw_the_same_rows():
    ring, _ = middling()
    plain, mixed = (
        replay.sample(ring, spec(2), replay.Relabel(HORIZON, *s), 256, KEY) for s in ((), (0.1, 0.2))
    )
    np.testing.assert_array_equal(plain.obs, mixed.obs)
    changed = np.any(np.asarray(plain.goal) != np.asarray(mixed.goal), axis=1)
    assert 0.15 < changed.mean() < 0.4


@pytest.mark.parametrize("sizes", [[20] * 2, [20] * 10])
def test_samples_of_one_episode_are_uniform_among_its_rows(sizes):
    """Each is as likely as any row with a future, and comes with others of its episode, across ring seams."""
    rows = history(200, 6, 2, 0.08, 1)
    ring, inserted = ring_of(rows, 80, sizes), sum(sizes)
    relabel = replay.Relabel(HORIZON, per_episode=4)
    indexed = replay.index(ring, spec(2), relabel)
    draw = jax.jit(lambda ring, key: replay.sample(ring, spec(2), relabel, 4096, key))
    batch = draw(indexed, KEY)
    assert_equal_batches(batch, draw(ring, KEY))
    world, time = np.asarray(batch.obs)[:, :2].astype(int).T
    oldest = max(inserted - 80, 0)
    episode = np.cumsum(rows.first[:inserted], axis=0)  # of each row, by its number in its world
    together = np.stack([world, episode[time, world]], axis=1).reshape(-1, 4, 2)
    np.testing.assert_array_equal(together, together[:, :1].repeat(4, axis=1))
    assert (together[:, 0] != np.roll(together[:, 0], 1, axis=0)).any(axis=1).mean() > 0.5
    goes_on = np.append(~rows.first[1:inserted], np.zeros((1, 6), bool), axis=0)
    goes_on[:oldest] = False
    seen = np.zeros((inserted, 6))
    np.add.at(seen, (time, world), 1)
    assert not seen[~goes_on].any()
    # Samples of an episode are not independent of each other; the first ones of each are.
    first_of_each = np.zeros((inserted, 6))
    np.add.at(first_of_each, (time[::4], world[::4]), 1)
    drawn = first_of_each[goes_on]
    assert stats.chisquare(drawn, np.full(len(drawn), 1024 / len(drawn))).pvalue > 1e-3


def test_one_sample_of_each_episode_is_the_same_as_before():
    ring, relabel = middling()
    assert replay.index(ring, spec(2), relabel).begin is None
    assert_equal_batches(
        replay.sample(ring, spec(2), relabel, 32, KEY),
        replay.sample(ring, spec(2), relabel._replace(per_episode=1), 32, KEY),
    )
