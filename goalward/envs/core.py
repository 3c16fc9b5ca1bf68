"""The contract of an environment in pure JAX, with time limit and automatic reset in one place."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PRNGKeyArray

from goalward.envs.maze import Maze
from goalward.types import EnvSpec


class Env(NamedTuple):
    """Pure functions of one world; `state` is any pytree."""

    name: str
    spec: EnvSpec
    reset: Callable[[PRNGKeyArray], tuple[Any, Array]]  # key -> (state, goal (G,)), equal for equal keys
    step: Callable[[Any, Array], Any]  # (state, action (A,) in [−1, 1]) -> state
    observe: Callable[[Any], Array]  # state -> observation (D,)
    terminated: Callable[[Any], Array]  # state -> bool: ends the episode before its time limit
    maze: Maze | None = None  # walls to draw, where there are any


class Worlds(NamedTuple):
    """N running episodes, leaves (N, …)."""

    state: Any
    goal: Array
    key: Key[Array, " N"]  # of this episode; `start` says what is drawn from it
    steps: Array  # int32, steps taken in this episode
    terminated: Array


def start(env: Env, keys: Key[Array, " N"]) -> Worlds:
    """Start one episode per key; `keys` has the shape (N,)."""
    # Of an episode's key, 0 is folded in for its reset, 1 for the next episode, more for its other goals.
    state, goal = jax.vmap(lambda key: env.reset(jax.random.fold_in(key, 0)))(keys)
    worlds = keys.shape[0]
    return Worlds(state, goal, keys, jnp.zeros(worlds, jnp.int32), jnp.zeros(worlds, bool))


def observe(env: Env, worlds: Worlds) -> Array:
    """Observations of all worlds, (N, D)."""
    return jax.vmap(env.observe)(worlds.state)


def step(env: Env, worlds: Worlds, action: Array) -> Worlds:
    """Take one step in every world, finished or not. `action`: (N, A), clipped to [−1, 1]."""
    state = jax.vmap(env.step)(worlds.state, jnp.clip(action, -1.0, 1.0))
    return worlds._replace(state=state, steps=worlds.steps + 1, terminated=jax.vmap(env.terminated)(state))


def step_or_reset(
    env: Env, worlds: Worlds, action: Array, resample_goals: bool, steps_per_goal: int | None = None
) -> Worlds:
    """Step the running episodes; start the next one where an episode has ended. `action`: (N, A).

    With `resample_goals` a new episode draws a new start and goal; without it, every episode of a
    world repeats the first one's, as in the scaling-crl code base. After each `steps_per_goal` steps
    of an episode another goal is drawn, as for a new episode.
    """
    over = worlds.terminated | (worlds.steps >= env.spec.episode_length)

    def reset_finished(going: Worlds) -> Worlds:
        keys = worlds.key
        if resample_goals:
            keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        return select(over, start(env, keys), going)

    going = step(env, worlds, action)
    if steps_per_goal is not None:
        going = _command_again(env, going, steps_per_goal)
    return jax.lax.cond(jnp.any(over), reset_finished, lambda going: going, going)


def _command_again(env: Env, worlds: Worlds, steps_per_goal: int) -> Worlds:
    """Draw another goal in every world whose steps are a multiple of `steps_per_goal`."""
    due = worlds.steps % steps_per_goal == 0

    def draw(worlds: Worlds) -> Worlds:
        keys = jax.vmap(lambda key, steps: jax.random.fold_in(key, 1 + steps))(worlds.key, worlds.steps)
        _, goal = jax.vmap(env.reset)(keys)
        return worlds._replace(goal=select(due, goal, worlds.goal))

    return jax.lax.cond(jnp.any(due), draw, lambda worlds: worlds, worlds)


def select(chosen: Array, new: Any, old: Any) -> Any:
    """Leaves (N, …) of `new` where `chosen` (N,) is true, else of `old`."""

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)
