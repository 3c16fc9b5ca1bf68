"""Acting with chunks of actions: each world takes its own in order, and plans where it must."""

from contextlib import contextmanager
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from goalward import checkpoint, policy, runs, training
from goalward.envs import core
from goalward.errors import UserError
from goalward.evaluation import episode_runner
from goalward.pictures import render
from goalward.policy import Policy
from goalward.rollout import collector, nothing_pending, starter
from goalward.types import EnvSpec

H, LENGTH, WORLDS, STEPS = 3, 7, 5, 40
ACTION = 4


def walk(*, on_host: bool = False) -> core.Env:
    """Observations are (episode, step, life, sum of what was done); an episode ends after `life` steps.

    The first element differs in every episode. Some lives are longer than the time limit.
    """

    def reset(key):
        episode, life, goal = (jax.random.fold_in(key, i) for i in (7, 8, 9))
        life = jax.random.randint(life, (), 2, 12).astype(jnp.float32)
        start = jnp.stack([jax.random.uniform(episode), jnp.float32(0), life, jnp.float32(0)])
        return start, jax.random.uniform(goal, (1,))

    def moved(state, control):
        """Of one world or of all, in JAX or in NumPy."""
        return state[..., 0], state[..., 1] + 1, state[..., 2], state[..., 3] + control.sum(-1)

    def advance(state, control, turn, start):
        gone = np.stack(moved(state, control), axis=-1).astype(np.float32)
        return np.where((turn == core.GO)[:, None], gone, np.where((turn == core.START)[:, None], start, state))

    def distance(achieved, goal):
        return jnp.abs(achieved - goal)[..., 0]

    spec = EnvSpec(4, ACTION, 1, LENGTH, lambda obs: obs[..., 3:], distance, 0.3)
    host = core.Engine(
        lambda state, action: action, advance, lambda n: jnp.zeros((n, 4)), lambda state: state[:, 0]
    )
    step = None if on_host else lambda state, control: jnp.stack(moved(state, control))
    return core.Env(
        "walk", spec, reset, step, lambda s: s, lambda s: s[1] >= s[2], engine=host if on_host else None
    )


def code(index, obs, noise):
    """An action (N, A) that tells its place in the chunk, and where and when the chunk was planned."""
    return jnp.stack([jnp.full(noise.shape, index / 8), obs[:, 0], obs[:, 1] / 8, noise], axis=-1)


def plan(context, obs, goal, noise):
    """Chunks of such actions, (N, H·A)."""
    del context, goal
    return jnp.concatenate([code(i, obs, noise) for i in range(H)], axis=-1)


def draw(key, worlds):
    return jax.random.uniform(key, (worlds,)) / 8


def act(context, obs, goal, key):
    return plan(context, obs, goal, draw(key, obs.shape[0]))


def act_at(context, obs, goal, t):
    return plan(context, obs, goal, jnp.full(obs.shape[0], t / 128, jnp.float32))


KEYS = jax.random.split(jax.random.key(0), STEPS)


@pytest.fixture(scope="module", params=[False, True], ids=["scan", "host"])
def collected(request):
    """Rows of the toy in one go, and how they were collected."""
    env = walk(on_host=request.param)
    run = collector(env, act, True, chunk=H)
    run = run if env.engine else jax.jit(run)
    worlds = starter(env)(jax.random.split(jax.random.key(1), WORLDS))
    begin = worlds, nothing_pending(env, WORLDS, H)
    return run, begin, run(None, *begin, KEYS)


def test_actions_come_in_order_from_the_state_they_were_planned_in(collected):
    rows = jax.tree.map(np.asarray, collected[2][2])
    assert rows.action.shape == (STEPS, WORLDS, ACTION)
    noise = np.stack([draw(key, WORLDS) for key in KEYS])
    ends = []
    for world in range(WORLDS):
        planned = 0
        for t in range(STEPS):
            obs = rows.obs[:, world]
            if rows.first[t, world] or t - planned == H:
                if rows.first[t, world] and t:
                    ends.append(t - planned)
                planned = t
            expected = [(t - planned) / 8, obs[planned, 0], obs[planned, 1] / 8, noise[planned, world]]
            np.testing.assert_array_equal(rows.action[t, world], np.float32(expected))
            if t + 1 < STEPS and not rows.first[t + 1, world]:
                done = np.float32(obs[t, 3] + rows.action[t, world].sum())
                np.testing.assert_allclose(obs[t + 1, 3], done, atol=1e-6)
    assert set(ends) == {1, 2, 3}, "episodes that end at each place of a chunk"
    assert set(rows.terminated[:-1][rows.first[1:]].tolist()) == {False, True}


def test_a_loop_around_an_engine_does_what_a_scan_does():
    found = []
    for on_host in (False, True):
        env = walk(on_host=on_host)
        run = collector(env, act, True, chunk=H)
        worlds = starter(env)(jax.random.split(jax.random.key(1), WORLDS))
        pending = nothing_pending(env, WORLDS, H)
        found.append((run if on_host else jax.jit(run))(None, worlds, pending, KEYS)[1:])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *found)


def test_collecting_goes_on_within_a_chunk(collected):
    run, begin, (_, at_end, whole) = collected
    cuts = [0, 4, 5, 16, STEPS]  # none of them lies between chunks in all worlds
    state, parts, taken = begin, [], []
    for a, b in pairwise(cuts):
        *state, rows = run(None, *state, KEYS[a:b])
        parts.append(rows)
        taken.append(np.asarray(state[1].taken))
    assert all(np.any((t > 0) & (t < H)) for t in taken)
    np.testing.assert_array_equal(state[1].actions, at_end.actions)
    np.testing.assert_array_equal(state[1].taken, at_end.taken)
    for name in whole._fields:
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_the_policy_is_computed_in_steps_in_which_a_world_needs_a_chunk():
    computed = []

    def counted(context, obs, goal, key):
        jax.debug.callback(lambda step: computed.append(int(step)), obs[0, 1])
        return act(context, obs, goal, key)

    env = walk()
    worlds = starter(env)(jax.random.split(jax.random.key(1), 1))
    run = jax.jit(collector(env, counted, True, chunk=H))
    _, _, rows = run(None, worlds, nothing_pending(env, 1, H), KEYS)
    jax.effects_barrier()
    assert sorted(computed) == sorted(int(step) for step in rows.obs[:, 0, 1] if step % H == 0)
    assert H < len(computed) < STEPS / 2


def test_one_action_at_a_time_leaves_nothing_pending():
    env = walk()
    assert nothing_pending(env, WORLDS, 1) == ()
    worlds = starter(env)(jax.random.split(jax.random.key(1), WORLDS))
    run = jax.jit(collector(env, lambda *inputs: act(*inputs)[:, :ACTION], True))
    _, pending, rows = run(None, worlds, (), KEYS)
    assert pending == training.shapes(training.build(toy.config())).pending == ()
    np.testing.assert_array_equal(rows.action[..., 0], 0)
    np.testing.assert_array_equal(rows.action[..., 1], rows.obs[..., 0])


def by_hand(env, worlds, choose):
    """Observations after each step of one episode in every world, which stays where it terminates."""
    seen = []
    for t in range(env.spec.episode_length):
        order = core.order_once(env, worlds, jnp.asarray(choose(core.observe(env, worlds), worlds.goal, t)))
        state = jax.tree.map(jnp.asarray, core.simulate(env, worlds.state, order))
        worlds = core.settle(env, worlds, order, state)
        seen.append(core.observe(env, worlds))
    return np.stack(seen)


@pytest.mark.parametrize("on_host", [False, True], ids=["scan", "host"])
def test_an_evaluation_is_the_naive_loop(on_host):
    env = walk(on_host=on_host)
    keys = jax.random.split(jax.random.key(3), 6)
    run = episode_runner(env, act_at, record=True, chunk=H)
    episodes, (_, obs) = (run if on_host else jax.jit(run))(None, keys)
    chunk = None

    def choose(obs, goal, t):
        nonlocal chunk
        if t % H == 0:
            chunk = np.asarray(act_at(None, obs, goal, t)).reshape(6, H, ACTION)
        return chunk[:, t % H]

    expected = by_hand(env, starter(env)(keys), choose)
    np.testing.assert_allclose(obs, expected, atol=1e-6)
    stays = np.all(expected[-1] == expected[-2], axis=-1)
    assert 0 < stays.sum() < 6, "some terminate, some do not"
    at_goal = np.abs(expected[..., 3] - np.asarray(episodes.goal)[:, 0]) < 0.3
    at_goal &= expected[..., 1] == np.arange(1, LENGTH + 1)[:, None]
    np.testing.assert_array_equal(episodes.time_at_goal, at_goal.sum(0))
    assert at_goal.any()


# --- use ---


def toy_policy():
    spec = walk().spec
    return Policy(spec, jax.jit(lambda obs, goal: plan(None, obs, goal, obs[:, 2] / 16)), H)


def evaluated(keys):
    """Worlds at their starts, and what the toy's policy makes of them in an evaluation."""
    env = walk()
    run = episode_runner(
        env, lambda _, obs, goal, t: plan(None, obs, goal, obs[:, 2] / 16), record=True, chunk=H
    )
    return env, starter(env)(keys), np.asarray(jax.jit(run)(None, keys)[1][1])


def test_a_policy_does_what_its_evaluation_does():
    env, worlds, expected = evaluated(jax.random.split(jax.random.key(3), 6))
    acting = toy_policy()
    for _ in range(2):
        seen = by_hand(env, worlds, lambda obs, goal, t: acting.act(obs, goal))
        np.testing.assert_allclose(seen, expected, atol=1e-6)
        acting.reset()  # LENGTH is no multiple of H
    one = jax.tree.map(lambda leaf: leaf[:1], worlds)
    seen = by_hand(env, one, lambda obs, goal, t: acting.act(obs[0], goal[0])[None])
    np.testing.assert_allclose(seen, expected[:, :1], atol=1e-6)


def test_a_policy_looks_again_after_a_chunk_and_after_a_reset():
    acting = toy_policy()

    def index_and_plan(number):
        obs = np.full((3, 4), number, np.float32)
        return [(float(8 * a[0]), float(a[1])) for a in acting.act(obs, np.zeros((3, 1)))]

    assert index_and_plan(1) == [(0, 1)] * 3
    assert index_and_plan(2) == [(1, 1)] * 3
    acting.reset([False, True, False])
    assert index_and_plan(3) == [(2, 1), (0, 3), (2, 1)]
    assert index_and_plan(4) == [(0, 4), (1, 3), (0, 4)]
    acting.reset()
    assert index_and_plan(5) == [(0, 5)] * 3


def test_another_number_of_rows_needs_a_reset():
    acting = toy_policy()
    acting.reset([True])  # nothing to forget yet
    several, one = (np.zeros((2, 4)), np.zeros((2, 1))), (np.zeros(4), np.zeros(1))
    first = acting.act(*several)
    with pytest.raises(UserError, match=r"obs has 1 rows, but the last call had 2.*reset\(\)"):
        acting.act(*one)
    assert np.all(acting.act(*several)[:, 0] == first[:, 0] + 1 / 8), "a refusal changes nothing"
    for rows in ([True], [1, 0], True):
        with pytest.raises(UserError, match=r"rows is .*; it must be bool \(2,\)"):
            acting.reset(rows)
    acting.reset()
    assert acting.act(*one).shape == (ACTION,)
    acting.reset(True)
    assert acting.act(*one)[0] == 0


def test_a_policy_of_single_actions_remembers_nothing():
    acting = Policy(walk().spec, lambda obs, goal: plan(None, jnp.asarray(obs), goal, obs[:, 2])[:, :ACTION])
    for number in (3, 1, 2):
        obs = np.full((number, 4), number, np.float32)
        np.testing.assert_array_equal(acting.act(obs, np.zeros((number, 1)))[:, :2], [[0, number]] * number)
        acting.reset([True])


# --- training ---


class Chunked:
    """An agent that plans three actions: the ones another agent takes here, turned, and halved."""

    chunk = H

    def __init__(self, agent):
        self._agent = agent

    def __getattr__(self, name):
        return getattr(self._agent, name)

    def act(self, *inputs):
        return self._turned(self._agent.act(*inputs))

    def exploit(self, *inputs):
        return self._turned(self._agent.exploit(*inputs))

    def _turned(self, action):
        return jnp.concatenate([action, -action[:, ::-1], action / 2], axis=-1)


PROGRAMS = {}


@contextmanager
def planning():
    """All agents plan three actions; programs are compiled once for them."""
    make = training.agents.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.agents, "make", lambda config, spec: Chunked(make(config, spec)))
        patch.setattr(toy, "_programs", PROGRAMS)
        yield


@pytest.fixture
def chunked():
    with planning():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("chunks") / "run"
    with planning():
        toy.run(directory)
    return directory


def stopped(directory, iterations):
    """Train until so many iterations are done."""
    done = iter(range(iterations))
    toy.run(directory, should_stop=lambda: next(done) == iterations - 1)
    return toy.latest(directory)


def test_a_resume_within_a_chunk_is_no_stop(chunked, whole, tmp_path):
    saved = stopped(tmp_path / "run", 2)
    assert saved.iteration == 2
    names = set(checkpoint._read_arrays(saved.path))
    assert {"pending.actions", "pending.taken"} <= names
    toy.run(tmp_path / "run", toy.config(), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(whole)
    assert toy.rows(tmp_path / "run") == toy.rows(whole)


def test_what_is_pending_makes_a_difference_to_what_follows(chunked, tmp_path):
    """So the test above could fail: the run stops within chunks, whose rest is taken next."""
    experiment = training.build(toy.config())
    run = training.restore(experiment, stopped(tmp_path / "run", 2), runs.load_meta(tmp_path / "run"))
    assert np.any((run.pending.taken > 0) & (run.pending.taken < H) & (run.worlds.steps > 0))
    gather = jax.jit(training.gatherer(experiment))
    rows = gather(run)[0].replay.rows.action
    blank = gather(run._replace(pending=training.blank(experiment).pending))[0].replay.rows.action
    assert np.any(rows != blank)


def test_rows_of_a_run_are_single_actions_of_its_chunks(chunked, whole):
    experiment = training.build(toy.config())
    run = training.restore(experiment, toy.latest(whole), runs.load_meta(whole))
    rows, inserted = jax.tree.map(np.asarray, run.replay.rows), int(run.replay.inserted)
    order = np.arange(max(0, inserted - 60), inserted) % 60
    first, action = rows.first[order], rows.action[order]
    assert action.shape[-1] == experiment.env.spec.action_dim == 2
    checked = 0
    for world in range(first.shape[1]):
        starts = [*np.flatnonzero(first[:, world]), len(first)]
        for a, b in pairwise(starts):
            for t in range(a, b - H + 1, H):
                now, turned, halved = action[t : t + H, world]
                np.testing.assert_array_equal(turned, -now[::-1])
                np.testing.assert_array_equal(halved, now / 2)
                checked += 1
    assert checked > 20


def test_a_loaded_policy_and_a_video_do_what_the_evaluation_does(chunked, whole, monkeypatch):
    experiment, run = policy.load_experiment(whole)
    keys = training.evaluation_keys(experiment.config, 3)
    _, (_, obs) = training.evaluator(experiment, record=True)(run.agent, keys)
    acting, env = policy.load_policy(whole), experiment.eval_env
    seen = by_hand(env, starter(env)(keys), lambda obs, goal, t: acting.act(obs, goal))
    np.testing.assert_allclose(seen, obs, atol=1e-5)
    drawn = []
    monkeypatch.setattr(render, "_draw_points", lambda _, obs, *rest: drawn.append(obs) or [])
    render.render(whole, episodes=3)
    np.testing.assert_array_equal(drawn[0], obs)
