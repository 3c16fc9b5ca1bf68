"""What is recorded of an environment for a diagnosis: rows of random actions, and what each action changes."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from goalward import contract, prng, promises
from goalward.diagnosis.columns import Ranges, follow, ranges
from goalward.envs import core, shapes
from goalward.promises import LEAST_DEVIATION
from goalward.rollout import Unroll, compiled, unroller
from goalward.types import EnvSpec, Trajectory

LEVELS = (-1.0, 0.0, 1.0)  # of one element of an action, with which it is tried
TRIED = contract.HELD  # steps that each is held
PLACES = 8  # states from which it is tried at most, in each world
APART = 2  # of these, in actions of `TRIED` steps
FELT = 1e-3  # deviations of an element of the observation, less than which an action does not change
MOST_READ = 64  # rows in which what goals are read from is looked for
MOST_ELEMENTS = 4_096  # of an observation that is looked at one by one


class Rows(NamedTuple):
    """Rows of random actions in NumPy, leaves (T, N, …), with what they achieved.

    Where networks are given a part of the observation, `obs` is that part (D); `EnvSpec.obs_dim` are all (R).
    """

    obs: np.ndarray
    action: np.ndarray
    goal: np.ndarray
    first: np.ndarray
    terminated: np.ndarray
    achieved: np.ndarray
    distance: np.ndarray  # of what is achieved from the goal
    at_goal: np.ndarray


class Episode(NamedTuple):
    """A part of `Rows`: `start` … `end` − 1 of a world."""

    world: int
    start: int
    end: int
    is_whole: bool  # it came to its end
    terminated: bool

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Its part of rows (T, N, …)."""
        return rows[self.start : self.end, self.world]


class Seen(NamedTuple):
    """All that the rules of a diagnosis look at."""

    spec: EnvSpec
    constant: tuple[int, ...]  # elements of the observation that random actions may leave as they are
    random: Rows  # actions are held for `contract.HELD` steps
    held: Rows  # each world has one action, held to the end
    reads: np.ndarray  # (R, G) bool: what is achieved changes with this element of the whole observation
    sources: np.ndarray  # (D, G) bool: it is, or follows, one that does
    ranges: Ranges  # of `Rows.obs`, in random and in held actions
    # Of actions that are numbers, (A,): the largest change of the next observations, in deviations, between
    # the levels of an element. Of choices, (A, A + 1): between two of them, and against the observation
    # before. None where no state can be put back.
    effects: np.ndarray | None
    names: dict[int, str]  # of elements of the observation, where they are known
    wound_up: dict[int, Any]  # elements that change by a turn of a hinge without limits: its name, by how much
    faults: int
    steps_per_second: float


def episodes(rows: Rows) -> list[Episode]:
    """All episodes of some rows, with those that are cut off by their end."""
    found, length = [], len(rows.first)
    for world in range(rows.first.shape[1]):
        starts = [*np.flatnonzero(rows.first[:, world]).tolist(), length]
        for start, end in pairwise(starts):
            found.append(Episode(world, start, end, end < length, bool(rows.terminated[end - 1, world])))
    return found


def record(env: core.Env, examined: contract.Examined, seed: int) -> Seen:
    """Record what `contract.examine` did not: single actions, and what goals are read from.

    Raises `BrokenError` where long actions lead to numbers that are none.
    """
    look, held, looker = examined.look, examined.held, examined.looker
    assert look is not None  # noqa: S101  # whoever calls has looked
    assert held is not None  # noqa: S101
    assert looker is not None  # noqa: S101
    for broken in promises.finite(env, held):
        raise shapes.BrokenError(broken)
    begun = contract.begin(looker, look.rows.first.shape[1], seed)
    key = jax.random.fold_in(prng.key(seed), 3)
    short = jax.tree.map(np.asarray, look.rows)
    reads = _reads(env.spec, short.obs)
    random, long = _rows(env.spec, short), _rows(env.spec, held)
    deviation = np.maximum(ranges(short.obs, np.asarray(held.obs)).deviation, LEAST_DEVIATION)
    names, wound_up = _joints(env, look.middle.state)
    return Seen(
        spec=env.spec,
        constant=env.constant,
        random=random,
        held=long,
        reads=reads,
        sources=_sources(reads, random.obs, short.obs),
        ranges=ranges(random.obs, long.obs),
        effects=_effects(env, begun, deviation, key) if env.engine is None or env.engine.keeps else None,
        names=names,
        wound_up=wound_up,
        faults=examined.findings.faults,
        steps_per_second=examined.findings.steps_per_second,
    )


def is_part(spec: EnvSpec) -> bool:
    """Whether networks are given a part of the observation, as where it also holds what was achieved."""
    return spec.sight is not None and spec.sight.obs_dim <= spec.obs_dim


def _rows(spec: EnvSpec, rows: Trajectory) -> Rows:
    obs, goal = jnp.asarray(rows.obs), jnp.asarray(rows.goal)
    achieved = spec.achieved(obs)
    more = achieved, spec.distance(achieved, goal), spec.success(achieved, goal)
    if spec.sight is not None and is_part(spec):
        rows = rows._replace(obs=spec.sight.obs(obs))
    return Rows(*(np.asarray(leaf) for leaf in (*rows, *more)))


def _sources(reads: np.ndarray, part: np.ndarray, obs: np.ndarray) -> np.ndarray:
    """Of a part of the observation (…, D), which elements follow one that is read (R, G) for a goal, (D, G)."""
    if part.shape == obs.shape or len(reads) > MOST_ELEMENTS:
        return reads[: part.shape[-1]]
    read = np.flatnonzero(reads.any(axis=-1))
    return follow(part, obs[..., read]).astype(np.int32) @ reads[read].astype(np.int32) > 0


def _joints(env: core.Env, state: Any) -> tuple[dict[int, str], dict[int, Any]]:
    """Names of elements of the observation, and which of them wind up; nothing where there is no model."""
    if env.task is None or is_part(env.spec):
        return {}, {}
    from goalward.envs.mujoco import joints

    physics = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], state.physics)
    return joints.element_names(env.task, physics), joints.wound_up(env.task, physics)


def _reads(spec: EnvSpec, obs: np.ndarray) -> np.ndarray:
    """Which elements of the observation change what is achieved, where they are changed alone, (R, G) bool.

    Of an observation that is too long to look at, all.
    """
    if spec.obs_dim > MOST_ELEMENTS:
        return np.ones((spec.obs_dim, spec.goal_dim), bool)
    rows = jnp.asarray(obs.reshape(-1, obs.shape[-1])[:: max(1, obs[..., 0].size // MOST_READ)])
    step = jnp.asarray(np.maximum(np.abs(rows).max(axis=0), 1.0), rows.dtype)  # felt beside any rounding

    @jax.jit
    def changes(rows: Array, step: Array) -> Array:
        def of_element(element: Array) -> Array:
            moved = rows.at[:, element].add(step[element])
            return jnp.any(spec.achieved(moved) != spec.achieved(rows), axis=0)

        return jax.lax.map(of_element, jnp.arange(rows.shape[1]))

    return np.asarray(changes(rows, step))


def _effects(env: core.Env, worlds: core.Worlds, deviation: np.ndarray, key: Array) -> np.ndarray:
    """`Seen.effects`, from states that random actions lead to, until all have one."""

    def act(action: Array, *_: Any) -> Array:
        return action

    unroll, observe = compiled(env, unroller(env, act, 1, _go_on(env))), jax.jit(partial(core.observe, env))
    size, number = env.spec.action_dim, worlds.key.shape[0]
    effects = np.diag(np.full(size + 1, np.inf))[:size] if env.spec.discrete else np.zeros(size)
    for place in range(PLACES):
        follow = partial(_follow, unroll, observe, deviation, worlds)
        key, used = jax.random.split(key)
        drawn = contract.random_act(env)(None, jnp.zeros((number, 0)), worlds.goal, used)
        if env.spec.discrete:
            effects = np.maximum(effects, _between_choices(follow, size, number))
        else:
            for element in np.flatnonzero(effects < FELT).tolist():
                effects[element] = _between_levels(follow, np.asarray(drawn), element)
        if effects.min() >= FELT or place == PLACES - 1:
            break
        for _ in range(APART):
            worlds = unroll(drawn, worlds, (), jnp.arange(TRIED))[0]
    return effects


def _follow(
    unroll: Unroll,
    observe: Callable[..., Array],
    deviation: np.ndarray,
    worlds: core.Worlds,
    action: np.ndarray,
) -> np.ndarray:
    """Observations before an action (N, A) and in `TRIED` steps of it, in deviations, (TRIED + 1, N, D)."""
    after, _, obs = unroll(jnp.asarray(action, jnp.float32), worlds, (), jnp.arange(TRIED))
    return np.concatenate([np.asarray(obs), np.asarray(observe(after))[None]]) / deviation


def _between_levels(follow: Callable[[np.ndarray], np.ndarray], drawn: np.ndarray, element: int) -> float:
    """The largest change between the levels of an element of an action, others as they were drawn (N, A)."""
    actions = [np.where(np.arange(drawn.shape[1]) == element, level, drawn) for level in LEVELS]
    return _apart(*(follow(action) for action in actions))


def _between_choices(follow: Callable[[np.ndarray], np.ndarray], size: int, number: int) -> np.ndarray:
    """Changes between choices, in all worlds alike, and of each against the observation before."""
    after = [follow(np.tile(choice, (number, 1))) for choice in np.eye(size)]
    return np.array([[*(_apart(one, other) for other in after), _apart(one, one[:1])] for one in after])


def _go_on(env: core.Env) -> Callable[..., tuple[core.Order, Array]]:
    """Worlds go on whatever the time, but where they are terminated; observations are recorded."""

    def turn(worlds: core.Worlds, obs: Array, action: Array, _: Any) -> tuple[core.Order, Array]:
        return core.order_once(env, worlds, action), obs

    return turn


def _apart(*results: np.ndarray) -> float:
    """The largest difference between any of some results."""
    high, low = results[0], results[0]
    for result in results[1:]:
        high, low = np.maximum(high, result), np.minimum(low, result)
    return float(np.max(high - low))
