"""What every environment promises, looked at while random actions are taken: for ours and for anybody's."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward import prng
from goalward.envs import core
from goalward.limits import SEEDS, check_number
from goalward.rollout import Act, collector, compiled, starter
from goalward.types import Trajectory

HELD = 4  # steps that a random action is held, so that worlds go somewhere
MOST_BYTES = 10**9  # of the rows of a look, all of which are kept
LEAST_DEVIATION = 1e-5  # of an element of the observation that is not constant


class Findings(NamedTuple):
    """What a look at an environment gave."""

    problems: list[str]  # promises that are broken; none for an environment that keeps them
    episodes: int
    random_success: float  # share of the finished episodes in which random actions reached the goal
    random_time_at_goal: float  # share of their steps at the goal
    faults: int  # times the physics of a world broke down


class Looker(NamedTuple):
    """Compiled once for an environment: starts worlds, and takes random actions in them."""

    start: Callable[[Array], core.Worlds]
    collect: Callable[[Any, core.Worlds, Any, Array], tuple[core.Worlds, Any, Trajectory]]


class Look(NamedTuple):
    """Rows of all worlds in NumPy, leaves (T, N, …), and the worlds after half of them and after all."""

    rows: Any
    middle: core.Worlds
    end: core.Worlds


def check(env: core.Env, *, worlds: int = 16, steps: int | None = None, seed: int = 0) -> Findings:
    """Take random actions and look for broken promises.

    `steps` in every world; by default two episodes and a few steps. Needs at least one episode to its end to
    see a time limit. Raises `UserError` for numbers out of range.

    The promises: sizes as declared; finite; a function of the key; starts and goals differ between episodes;
    no element of the observation is constant but those that `env.constant` lists; what is achieved is a success
    for itself, at distance 0, and shifts along with the observation; a time limit is exact and is no
    termination; a state that is taken out and put back goes on in the same way; goals lie inside the walls.
    """
    length = 2 * (env.spec.episode_length + 3) if steps is None else steps
    row = 4 * (env.spec.obs_dim + env.spec.action_dim + env.spec.goal_dim)
    check_number("worlds", worlds, 1, MOST_BYTES // (length * row))
    check_number("seed", seed, *SEEDS)
    half = -(-length // 2)
    start, collect = starter(env), collector(env, random_act(env), resample_goals=True)
    looker = Looker(compiled(env, start), compiled(env, collect))
    look = _look(looker, worlds, half, seed)
    rows, problems = look.rows, []
    for promise in (_sizes, _finite, _constants, _successes, _shifts, _ends, _variety, _goals_inside):
        problems += promise(env, rows)
    problems += _repeats(looker, look, worlds, half, seed)
    achieved = env.spec.achieved(jnp.asarray(rows.obs))
    at_goal = np.asarray(env.spec.success(achieved, jnp.asarray(rows.goal)))
    shares = _shares_at_goal(rows, at_goal)
    return Findings(
        problems=problems,
        episodes=len(shares),
        random_success=float(np.mean(shares > 0)) if len(shares) else float("nan"),
        random_time_at_goal=float(np.mean(shares)) if len(shares) else float("nan"),
        faults=int(jnp.sum(env.engine.faults(look.end.state))) if env.engine else 0,
    )


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


def _start(looker: Looker, worlds: int, seed: int) -> core.Worlds:
    return looker.start(jax.random.split(prng.key(seed % (SEEDS[1] + 1)), worlds))


def _look(looker: Looker, worlds: int, half: int, seed: int) -> Look:
    early, late = _keys(half, seed)
    middle, _, first = looker.collect(None, _start(looker, worlds, seed), (), early)
    end, _, second = looker.collect(None, middle, (), late)
    both = jax.tree.map(lambda a, b: np.concatenate([np.asarray(a), np.asarray(b)]), first, second)
    return Look(both, middle, end)


def _sizes(env: core.Env, rows: Trajectory) -> list[str]:
    spec = env.spec
    achieved = jax.eval_shape(spec.achieved, jax.ShapeDtypeStruct((spec.obs_dim,), jnp.float32))
    found = {
        "obs_dim": (rows.obs.shape[-1], spec.obs_dim),
        "goal_dim": (rows.goal.shape[-1], spec.goal_dim),
        "action_dim": (rows.action.shape[-1], spec.action_dim),
        "goal_dim, of what is achieved": (achieved.shape[-1], spec.goal_dim),
    }
    if spec.sight is not None:
        ways = ("obs_dim", spec.sight.obs, rows.obs), ("goal_dim", spec.sight.see_goal, rows.goal)
        for name, see, given in ways:
            seen = jax.eval_shape(see, jax.ShapeDtypeStruct(given.shape[-1:], jnp.float32))
            found[f"{name} of what is seen"] = (seen.shape[-1], getattr(spec.sight, name))
    return [f"{name} is {said}, but there are {is_}" for name, (is_, said) in found.items() if is_ != said]


def _finite(env: core.Env, rows: Trajectory) -> list[str]:
    del env
    parts = {"observations": rows.obs, "goals": rows.goal}
    return [f"{name} are not all finite" for name, part in parts.items() if not np.all(np.isfinite(part))]


def _constants(env: core.Env, rows: Trajectory) -> list[str]:
    with np.errstate(invalid="ignore"):  # what is not finite is told elsewhere
        deviation = rows.obs.reshape(-1, rows.obs.shape[-1]).std(axis=0)
    found = set(np.flatnonzero(deviation < LEAST_DEVIATION).tolist()) - set(env.constant)
    return [f"elements {sorted(found)} of the observation never change"] if found else []


def _successes(env: core.Env, rows: Trajectory) -> list[str]:
    achieved = env.spec.achieved(jnp.asarray(rows.obs))
    problems = []
    if not np.all(env.spec.success(achieved, achieved)):
        problems.append("what is achieved is not a success for itself")
    if np.any(np.asarray(env.spec.distance(achieved, achieved)) != 0):
        problems.append("what is achieved is not at distance 0 of itself")
    return problems


def _shifts(env: core.Env, rows: Trajectory) -> list[str]:
    """What is achieved is linear in positions on the axes that the world may be shifted along."""
    obs, achieved, problems = jnp.asarray(rows.obs), env.spec.achieved, []
    for axis in env.spec.shifts:
        by = jnp.zeros_like(obs).at[..., jnp.asarray(axis)].set(1.0)
        if not np.allclose(achieved(obs + by), achieved(obs) + achieved(by), atol=1e-4):
            problems.append(f"what is achieved does not shift along with elements {list(axis)}")
    return problems


def _ends(env: core.Env, rows: Trajectory) -> list[str]:
    """An episode ends where it is terminated, or after `episode_length` steps, and nowhere else."""
    limit, problems = env.spec.episode_length, []
    steps = np.zeros(rows.first.shape, int)
    for t in range(1, len(steps)):
        steps[t] = np.where(rows.first[t], 0, steps[t - 1] + 1)
    over = rows.terminated[:-1] | (steps[:-1] >= limit)
    if not rows.first[0].all():
        problems.append("the first rows of worlds do not start an episode")
    if np.any(rows.first[1:] & ~over):
        problems.append("an episode ends that is neither terminated nor at its time limit")
    if np.any(~rows.first[1:] & over):
        problems.append(f"an episode goes on after its end (time limit {limit})")
    if np.any(rows.terminated & rows.first):
        problems.append("an episode is terminated where it starts")
    if np.all(rows.terminated[steps == limit]) and np.any(steps == limit):
        problems.append("every time limit is called a termination")
    return problems


def _variety(env: core.Env, rows: Trajectory) -> list[str]:
    """Starts differ between episodes; so do goals, but in a maze that has only one."""
    parts = {"starts": rows.obs[rows.first], "goals": rows.goal[rows.first]}
    if env.maze is not None and len(np.unique(env.maze.pairs[:, 1], axis=0)) == 1:
        del parts["goals"]
    return [
        f"all {name} of {len(part)} episodes are equal"
        for name, part in parts.items()
        if len(part) > 1 and np.all(part == part[0])
    ]


def _goals_inside(env: core.Env, rows: Trajectory) -> list[str]:
    if env.maze is None or env.to_cells is None:
        return []
    goals = np.asarray(rows.goal).reshape(-1, rows.goal.shape[-1])
    cells = np.round(env.to_cells(goals)).astype(int)
    inside = np.all((cells >= 0) & (cells < env.maze.walls.shape), axis=-1)
    if not inside.all() or env.maze.walls[cells[:, 0], cells[:, 1]].any():
        return ["a goal lies in a wall or outside of the maze"]
    return []


def _repeats(looker: Looker, look: Look, worlds: int, half: int, seed: int) -> list[str]:
    """The same key gives the same rows; so does a state that was taken out, after other worlds were run."""
    problems = []
    if not _equal(_look(looker, worlds, half, seed), look):
        problems.append("the same key gives other rows")
    early, late = _keys(half, seed)
    taken_out = jax.tree.map(_to_host, look.middle)
    looker.collect(None, _start(looker, worlds, seed + 1), (), early)
    put_back = jax.tree.map(_to_device, taken_out, look.middle)
    if not _equal(looker.collect(None, put_back, (), late)[0], look.end):
        problems.append("a state that is taken out and put back does not go on in the same way")
    return problems


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
