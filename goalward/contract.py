"""What every environment promises, looked at while random actions are taken: for ours and for anybody's."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward import prng, promises
from goalward.envs import core, shapes
from goalward.findings import Finding, problem
from goalward.limits import SEEDS, check_number
from goalward.rollout import Act, collector, compiled, starter
from goalward.types import Trajectory

HELD = 4  # steps that a random action is held, so that worlds go somewhere
LEAST_STEPS = 2 * HELD  # of a look
MOST_BYTES = 10**9  # of the rows of a look, all of which are kept


class Findings(NamedTuple):
    """What a look at an environment gave."""

    broken: list[Finding]  # promises; none for an environment that keeps them
    episodes: int  # that came to their end
    random_success: float  # share of these in which random actions reached the goal
    random_time_at_goal: float  # share of their steps at the goal
    faults: int  # times the physics of a world broke down
    steps_per_second: float  # of all worlds together

    @property
    def problems(self) -> list[str]:
        """The promises that are broken, a sentence each."""
        return [finding.what for finding in self.broken]


class Looker(NamedTuple):
    """Compiled once for an environment: starts worlds, and takes random actions in them."""

    start: Callable[[Array], core.Worlds]
    collect: Callable[[Any, core.Worlds, Any, Array], tuple[core.Worlds, Any, Trajectory]]


class Look(NamedTuple):
    """Rows of all worlds in NumPy, leaves (T, N, …), and the worlds after half of them and after all."""

    rows: Any
    middle: core.Worlds
    end: core.Worlds


class Examined(NamedTuple):
    """What was found, and what it was found with: None where functions raise, or do not fit each other."""

    findings: Findings
    look: Look | None = None
    held: Trajectory | None = (
        None  # rows of other worlds, for half as long: each has one action, held to the end
    )
    looker: Looker | None = None


def check(env: core.Env, *, worlds: int = 16, steps: int | None = None, seed: int = 0) -> Findings:
    """Take random actions and look for broken promises.

    `steps` in every world; by default two episodes and a few steps. Needs at least one episode to its end to
    see a time limit. Raises `UserError` for numbers out of range.

    The promises: sizes as declared; finite; a function of the key; starts and goals differ between episodes;
    no element of the observation is constant but those that `env.constant` lists; what is achieved is a success
    for itself, at distance 0, and shifts along with the observation; a time limit is exact and is no
    termination; a state that is taken out and put back goes on in the same way; goals lie inside the walls.
    """
    return examine(env, worlds=worlds, steps=steps, seed=seed).findings


def examine(env: core.Env, *, worlds: int, steps: int | None = None, seed: int = 0) -> Examined:
    """As `check`, with what was looked at."""
    length = 2 * (env.spec.episode_length + 3) if steps is None else steps
    row = 4 * (env.spec.obs_dim + env.spec.action_dim + env.spec.goal_dim)
    check_number("steps", length, LEAST_STEPS, MOST_BYTES // row)
    check_number("worlds", worlds, 1, MOST_BYTES // (length * row))
    check_number("seed", seed, *SEEDS)
    broken = shapes.broken(env)
    if broken:
        return Examined(_nothing(broken))
    try:
        return shapes.call("a step of all worlds", _examine, shapes.guarded(env), worlds, length, seed)
    except shapes.BrokenError as error:
        return Examined(_nothing([error.finding]))


def _nothing(broken: list[Finding]) -> Findings:
    """What is found where no step can be taken."""
    return Findings(broken, 0, float("nan"), float("nan"), 0, float("nan"))


def _examine(env: core.Env, worlds: int, length: int, seed: int) -> Examined:
    half = -(-length // 2)
    start, collect = starter(env), collector(env, random_act(env), resample_goals=True)
    looker = Looker(compiled(env, start), compiled(env, collect))
    look = _look(looker, worlds, half, seed)
    rows, broken = look.rows, promises.finite(env, look.rows)
    held, speed = None, float("nan")
    if not broken:  # of numbers that are none, nothing else can be told
        broken += [finding for promise in promises.OF_FINITE_ROWS for finding in promise(env, rows)]
        begun = time.monotonic()
        broken += _repeats(looker, look, worlds, half, seed)
        held = _other_worlds(looker, worlds, half, seed)
        keeps = env.engine is None or env.engine.keeps
        if keeps:
            broken += _goes_on(looker, look, half, seed)
        speed = (3 if keeps else 2) * half * worlds / max(time.monotonic() - begun, 1e-9)
    achieved = env.spec.achieved(jnp.asarray(rows.obs))
    at_goal = np.asarray(env.spec.success(achieved, jnp.asarray(rows.goal)))
    shares = _shares_at_goal(rows, at_goal)
    findings = Findings(
        broken=broken,
        episodes=len(shares),
        random_success=float(np.mean(shares > 0)) if len(shares) else float("nan"),
        random_time_at_goal=float(np.mean(shares)) if len(shares) else float("nan"),
        faults=int(jnp.sum(env.engine.faults(look.end.state))) if env.engine else 0,
        steps_per_second=speed,
    )
    return Examined(findings, look, held, looker)


def random_act(env: core.Env) -> Act:
    """Make the policy of random actions. A key that is given again repeats an action: here for `HELD` steps."""

    def act(_: Any, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        del goal
        drawn = jax.random.uniform(key, (obs.shape[0], env.spec.action_dim), minval=-1.2, maxval=1.2)
        if not env.spec.discrete:
            return drawn
        return jax.nn.one_hot(jnp.argmax(drawn, axis=-1), env.spec.action_dim)

    return act


def _keys(half: int, seed: int) -> tuple[Array, Array]:
    """Keys of both halves of a look, (half,) each; equal ones in a row hold an action."""
    keys = jax.random.split(jax.random.fold_in(prng.key(seed), 1), -(-2 * half // HELD))
    keys = jnp.repeat(keys, HELD)
    return keys[:half], keys[half : 2 * half]


def begin(looker: Looker, worlds: int, seed: int) -> core.Worlds:
    """Start the first episode of so many worlds."""
    return looker.start(jax.random.split(prng.key(seed % (SEEDS[1] + 1)), worlds))


def _look(looker: Looker, worlds: int, half: int, seed: int) -> Look:
    early, late = _keys(half, seed)
    middle, _, first = looker.collect(None, begin(looker, worlds, seed), (), early)
    end, _, second = looker.collect(None, middle, (), late)
    both = jax.tree.map(lambda a, b: np.concatenate([np.asarray(a), np.asarray(b)]), first, second)
    return Look(both, middle, end)


def _repeats(looker: Looker, look: Look, worlds: int, half: int, seed: int) -> list[Finding]:
    """The same key gives the same rows."""
    early, _ = _keys(half, seed)
    again, _, rows = looker.collect(None, begin(looker, worlds, seed), (), early)
    if not _equal((again, rows), (look.middle, jax.tree.map(lambda leaf: leaf[:half], look.rows))):
        remedy = "draw all that is random from the key that `reset` is given, or from the state"
        return [problem("repeats", "the same key gives other rows", remedy)]
    return []


def _other_worlds(looker: Looker, worlds: int, half: int, seed: int) -> Trajectory:
    """Rows of other starts and goals, as many as half a look; each world holds one action to the end."""
    key = jax.random.fold_in(prng.key(seed), 2)
    _, _, rows = looker.collect(None, begin(looker, worlds, seed + 1), (), jnp.repeat(key[None], half))
    return jax.tree.map(np.asarray, rows)


def _goes_on(looker: Looker, look: Look, half: int, seed: int) -> list[Finding]:
    """A state that was taken out goes on in the same way, after other worlds were run."""
    _, late = _keys(half, seed)
    put_back = jax.tree.map(lambda leaf: _to_device(_to_host(leaf), leaf), look.middle)
    end, _, rows = looker.collect(None, put_back, (), late)
    if not _equal((end, rows), (look.end, jax.tree.map(lambda leaf: leaf[half:], look.rows))):
        told = "a state that is taken out and put back does not go on in the same way"
        return [problem("repeats", told, "all that the next step depends on belongs in the state")]
    return []


def _to_host(leaf: Array) -> np.ndarray:
    return np.array(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def _to_device(leaf: np.ndarray, like: Array) -> Array:
    is_key = jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
    return prng.wrap(jnp.asarray(leaf)) if is_key else jnp.asarray(leaf)


def _equal(a: Any, b: Any) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(_to_host(jnp.asarray(x)), _to_host(jnp.asarray(y))) for x, y in leaves)


def _shares_at_goal(rows: Trajectory, at_goal: np.ndarray) -> np.ndarray:
    """Of each episode that came to its end, the share of its steps at the goal, (episodes,)."""
    shares = []
    for world in range(rows.first.shape[1]):
        starts = np.flatnonzero(rows.first[:, world])
        shares += [at_goal[a + 1 : b, world].mean() for a, b in pairwise(starts)]
    return np.array(shares)
