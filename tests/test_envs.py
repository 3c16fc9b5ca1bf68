"""Point mazes over a table of them, and what `envs.core` does for all environments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from goalward import envs
from goalward.envs import core, point
from goalward.rollout import starter

EPISODE, WORLDS, STEPS = 12, 64, 60

INERTIA = (("inertia", True), ("drag", 0.3))
TABLE = [(name, ()) for name in envs.names() if name.startswith("point_")] + [
    ("point_u_maze", INERTIA),
    ("point_u4_maze", (("cell_size", 4.0), ("step_size", 0.8))),
    ("point_big_maze", (("step_size", 0.99),)),
    ("point_hardest_maze", (("inertia", True), ("drag", 1.0), ("step_size", 0.9), ("start_noise", 0.0))),
    ("point_u2_maze_gen_3f", (("start_noise", 0.49),)),
    ("point_u5_maze_gen_1f2f3f", ()),
]
IDS = [" ".join([name, *(f"{setting}={value}" for setting, value in settings)]) for name, settings in TABLE]
each_env = pytest.mark.parametrize(("name", "settings"), TABLE, ids=IDS)


@functools.cache
def make(name, items=()):
    return envs.make(name, {"episode_length": EPISODE} | dict(items))


@functools.cache
def rows_of(name, items=(), key=0, resample_goals=True, steps_per_goal=None):
    """State, obs, goal and first of random walks, leaves (T, N, …) in numpy.

    Actions go beyond the limits, and are held for a few steps, so that walls are met.
    """
    roll = roller(name, items, resample_goals, steps_per_goal)
    actions = np.random.default_rng(key).uniform(-1.5, 1.5, (STEPS // 4, WORLDS, 2))
    actions = np.repeat(np.float32(actions), 4, axis=0)
    return jax.tree.map(np.asarray, roll(jax.random.split(jax.random.key(key), WORLDS), actions))


@functools.cache
def roller(name, items, resample_goals, steps_per_goal):
    env = make(name, items)

    def row(worlds, action):
        recorded = worlds.state, core.observe(env, worlds), worlds.goal, worlds.steps == 0
        return step(env, worlds, action, resample_goals, steps_per_goal), recorded

    return jax.jit(lambda keys, actions: jax.lax.scan(row, starter(env)(keys), actions)[1])


def step(env, worlds, action, resample_goals=True, steps_per_goal=None):
    """One step of all worlds, those that have ended starting anew."""
    order = core.order_next(env, worlds, action, resample_goals)
    return core.settle(env, worlds, order, core.simulate(env, worlds.state, order), steps_per_goal)


@each_env
def test_observations_have_the_declared_sizes_are_finite_and_vary(name, settings):
    spec = make(name, settings).spec
    _, obs, goal, _ = rows_of(name, settings)
    assert obs.shape == (STEPS, WORLDS, spec.obs_dim)
    assert goal.shape == (STEPS, WORLDS, spec.goal_dim)
    assert spec.achieved(jnp.asarray(obs)).shape == goal.shape
    assert np.all(np.isfinite(obs))
    assert np.all(obs.reshape(-1, spec.obs_dim).std(axis=0) > 0.01)
    assert np.abs(obs).max() < 5


@each_env
def test_time_limit_is_exact(name, settings):
    """K steps are K + 1 rows."""
    *_, first = rows_of(name, settings)
    expected = np.arange(STEPS) % (EPISODE + 1) == 0
    np.testing.assert_array_equal(first, np.broadcast_to(expected[:, None], first.shape))


@each_env
def test_rollouts_are_a_function_of_the_key(name, settings):
    again = jax.tree.leaves(rows_of.__wrapped__(name, settings))
    for a, b in zip(jax.tree.leaves(rows_of(name, settings)), again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(rows_of(name, settings, key=1)[1] != rows_of(name, settings)[1])


@each_env
def test_starts_and_goals_are_drawn_from_the_pairs_of_the_maze(name, settings):
    env = make(name, settings)
    state, _, goal, first = rows_of(name, settings)
    starts, goals = np.round(state.position[first]), point.to_cells(env.maze, goal[first])
    np.testing.assert_allclose(goals, np.round(goals), atol=1e-4)  # the middle of a cell
    drawn = {(*start, *goal) for start, goal in zip(starts, np.round(goals), strict=True)}
    allowed = {tuple(pair.ravel()) for pair in env.maze.pairs}
    assert drawn <= allowed
    assert len(drawn) > 0.9 * len(allowed)
    cells = np.round(goals).astype(int)
    assert not env.maze.walls[cells[:, 0], cells[:, 1]].any()
    noise = np.abs(state.position[first] - starts) * in_force(settings, "cell_size")
    assert noise.max() == pytest.approx(in_force(settings, "start_noise"), rel=0.03, abs=1e-5)


@each_env
def test_episodes_of_a_world_differ(name, settings):
    """In the start, unless there is one and no noise; in the goal, unless there is one."""
    env = make(name, settings)
    state, _, goal, first = rows_of(name, settings)
    begins = first.any(axis=1)
    several = [len(np.unique(cells, axis=0)) > 1 for cells in env.maze.pairs.transpose(1, 0, 2)]
    starts_vary = several[0] or in_force(settings, "start_noise") > 0
    for drawn, varies in ((state.position[begins], starts_vary), (goal[begins], several[1])):
        changes = np.any(drawn[1:] != drawn[:-1], axis=-1)
        assert changes.mean() > 0.3 if varies else not changes.any()


@each_env
def test_positions_stay_outside_walls_and_moves_within_the_step_size(name, settings):
    env = make(name, settings)
    state, _, _, first = rows_of(name, settings)
    cells = np.round(state.position).astype(int)
    assert not env.maze.walls[cells[..., 0], cells[..., 1]].any()
    move = np.abs(np.diff(state.position, axis=0))[~first[1:]]
    limit = in_force(settings, "step_size") / in_force(settings, "cell_size")
    assert 0.5 * limit < move.max() <= limit + 1e-5
    # A point that changes both row and column does so beside the corner, not through a wall.
    crossed = np.any(np.diff(cells, axis=0) != 0, axis=-1) & ~first[1:]
    before, after = cells[:-1][crossed], cells[1:][crossed]
    assert np.abs(after - before).max() == 1
    assert not env.maze.walls[after[:, 0], before[:, 1]].any()


@each_env
def test_goals_are_successes_and_distances_are_in_the_unit_of_the_world(name, settings):
    env = make(name, settings)
    state, obs, goal, _ = rows_of(name, settings)
    achieved, goals = env.spec.achieved(jnp.asarray(obs)), jnp.asarray(goal)
    assert np.all(env.spec.success(goals, goals))
    cells = point.to_cells(env.maze, np.asarray(achieved))
    np.testing.assert_allclose(cells, state.position, atol=1e-5)
    np.testing.assert_allclose(point.from_cells(env.maze, cells), achieved, atol=1e-5)
    distance = np.asarray(env.spec.distance(achieved, goals))
    expected = np.linalg.norm(cells - point.to_cells(env.maze, goal), axis=-1)
    np.testing.assert_allclose(distance, expected * in_force(settings, "cell_size"), atol=1e-4)
    np.testing.assert_array_equal(env.spec.success(achieved, goals), distance < 0.5)


def in_force(settings, name):
    return dict(settings).get(name, getattr(point.PointSettings(), name))


# --- what one environment shows for all ---


@pytest.mark.parametrize("settings", [(), INERTIA], ids=["position", "inertia"])
def test_without_resampling_a_world_repeats_its_first_start_and_goal(settings):
    kept = rows_of("point_u_maze", settings, resample_goals=False)
    drawn = rows_of("point_u_maze", settings)
    begins = kept[3].any(axis=1)
    assert begins.sum() == 5
    for leaf in (*kept[0], kept[1], kept[2]):
        np.testing.assert_array_equal(leaf[begins], np.broadcast_to(leaf[:1], leaf[begins].shape))
    for leaf in (drawn[0].position, drawn[1], drawn[2]):
        assert np.any(leaf[begins] != leaf[:1])
    np.testing.assert_array_equal(kept[1][: EPISODE + 1], drawn[1][: EPISODE + 1])


def test_another_goal_is_commanded_every_so_many_steps():
    state, _, goal, first = rows_of("point_big_maze", steps_per_goal=5)
    changes = np.any(goal[1:] != goal[:-1], axis=-1).mean(axis=1)
    steps = np.arange(1, STEPS) % (EPISODE + 1)
    assert np.all(changes[(steps % 5 == 0)] > 0.8)
    assert np.all(changes[steps % 5 != 0] == 0)
    # It is drawn as the goal of an episode is, and the start of an episode is not touched by it.
    cells = {tuple(cell) for cell in np.round(point.to_cells(make("point_big_maze").maze, goal)).reshape(-1, 2)}
    assert cells == {tuple(cell) for cell in make("point_big_maze").maze.pairs[:, 1]}
    np.testing.assert_array_equal(state.position[first], rows_of("point_big_maze")[0].position[first])


def late_worlds():
    """Worlds at the start, before the time limit, at it, and terminated before it; with actions."""
    env = make("point_u_maze")
    worlds = starter(env)(jax.random.split(jax.random.key(0), 4))
    steps = jnp.array([0, EPISODE - 1, EPISODE, 3], jnp.int32)
    actions = jnp.array([[1.0, -1.0], [0.5, 2.0], [0.0, -0.5], [0.0, 0.0]])
    return env, worlds._replace(steps=steps, terminated=jnp.array([False, False, False, True])), actions


def test_an_episode_ends_at_its_time_limit_or_when_it_is_terminated():
    env, worlds, actions = late_worlds()
    stepped = step(env, worlds, actions)
    np.testing.assert_array_equal(stepped.steps, [1, EPISODE, 0, 0])
    assert not np.any(stepped.terminated)


def test_step_or_reset_needs_no_jit():
    env, worlds, actions = late_worlds()

    def stepped(worlds):
        worlds = step(env, worlds, actions)
        return jax.tree.leaves(worlds._replace(key=jax.random.key_data(worlds.key)))

    for plain, compiled in zip(stepped(worlds), jax.jit(stepped)(worlds), strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-6)


def keyed_worlds(steps):
    """Worlds whose state and goal are the keys they were drawn from, after so many steps each."""

    def reset(key):
        return jax.random.key_data(key), jax.random.key_data(key)

    env = make("point_u_maze")._replace(reset=reset, step=lambda state, _: state)
    worlds = starter(env)(jax.random.split(jax.random.key(0), len(steps)))
    return env, worlds._replace(steps=jnp.array(steps, jnp.int32))


def test_no_key_is_drawn_from_twice():
    """Starts, goals and noise come from the two halves that `reset` splits its key into: all differ."""
    env, worlds = keyed_worlds([0] * 4)
    seen = [worlds.state]
    for steps, drawn in ((0, "goal"), (EPISODE, "state"), (0, "goal"), (1, "goal"), (EPISODE, "state")):
        worlds = worlds._replace(steps=jnp.full(4, steps, jnp.int32))
        worlds = step(env, worlds, jnp.zeros((4, 2)), steps_per_goal=1)
        seen.append(getattr(worlds, drawn))
    keys = jax.random.wrap_key_data(jnp.concatenate(seen))
    used = jax.random.key_data(jnp.concatenate([keys, jax.vmap(jax.random.split)(keys).ravel()]))
    assert len(np.unique(used, axis=0)) == 3 * 4 * len(seen)


def test_only_worlds_that_are_due_change_their_start_or_goal():
    """One goes on, one is due another goal, one begins another episode."""
    env, worlds = keyed_worlds([3, 4, EPISODE, 0])
    stepped = step(env, worlds, jnp.zeros((4, 2)), steps_per_goal=5)
    goal_changed, state_changed = (
        np.any(np.asarray(new) != old, axis=1)
        for new, old in ((stepped.goal, worlds.goal), (stepped.state, worlds.state))
    )
    np.testing.assert_array_equal(goal_changed, [False, True, True, False])
    np.testing.assert_array_equal(state_changed, [False, False, True, False])
    np.testing.assert_array_equal(stepped.steps, [4, 5, 0, 1])


def test_distances_of_a_split_are_equally_likely():
    name = "point_u5_maze_gen_1f2f3f"
    env = make(name)
    counts = np.zeros(4, int)
    for key in range(10):
        state, _, goal, first = rows_of(name, key=key)
        # The path turns at most once within three cells, so the cells walked are |Δrow| + |Δcolumn|.
        steps = np.abs(np.round(state.position[first]) - point.to_cells(env.maze, goal[first])).sum(axis=-1)
        counts += np.bincount(np.round(steps).astype(int), minlength=4)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3


def walk(env, position, actions):
    """Positions after each action, from rest."""
    start = point.PointState(jnp.array(position), jnp.zeros(2))
    step = jax.jit(lambda state, action: (env.step(state, action),) * 2)
    return np.asarray(jax.lax.scan(step, start, jnp.array(actions))[1].position)


def test_sliding_along_a_wall_keeps_the_motion_along_it():
    positions = walk(make("point_u_maze"), [1.0, 1.0], [[-1.0, 0.5]] * 15)
    np.testing.assert_allclose(np.diff(positions[:, 1]), 0.1, atol=1e-5)
    np.testing.assert_allclose(positions[2:, 0], 0.5 + point.WALL_GAP, atol=1e-5)


def test_inertia_carries_on_after_the_action_stops():
    env = make("point_u3_maze", INERTIA)
    positions = walk(env, [1.0, 1.0], [[0.0, 1.0]] * 5 + [[0.0, 0.0]] * 5)
    speed = np.diff(np.r_[1.0, positions[:, 1]])
    np.testing.assert_allclose(speed[:5], 0.2 * (1 - 0.7 ** np.arange(1, 6)), rtol=1e-3)
    np.testing.assert_allclose(speed[5:], speed[4] * 0.7 ** np.arange(1, 6), rtol=1e-3)


def test_a_wall_takes_the_momentum_across_it():
    env = make("point_u3_maze", INERTIA)
    positions = walk(env, [1.0, 1.0], [[-1.0, 0.0]] * 20 + [[1.0, 0.0]])
    assert positions[-1, 0] - positions[-2, 0] == pytest.approx(0.3 * 0.2, rel=1e-3)
