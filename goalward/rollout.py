"""Run all worlds over time: one compiled scan, or a loop around an engine that lives outside of JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PRNGKeyArray

from goalward.envs import core
from goalward.types import Trajectory

# (context, obs (N, D), goal (N, G), key) -> action (N, A); the context is what changes between calls, the agent
Act = Callable[[Any, Array, Array, PRNGKeyArray], Array]
# (context, worlds, one of the inputs) -> (what the worlds do next, what is recorded of them now)
Turn = Callable[[Any, core.Worlds, Any], tuple[core.Order, Any]]
# (context, worlds, inputs (T, …)) -> (worlds after T steps, records (T, …))
Unroll = Callable[[Any, core.Worlds, Any], tuple[core.Worlds, Any]]


def compiled(env: core.Env, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function that steps worlds; around an engine it stays Python, its parts are compiled."""
    return function if env.engine else jax.jit(function, **options)


def starter(env: core.Env) -> Callable[[Key[Array, " N"]], core.Worlds]:
    """Make the function that starts one episode per key, (N,); pure JAX without an engine."""

    def begin(keys: Key[Array, " N"]) -> tuple[core.Worlds, core.Order]:
        worlds = core.blank(env, keys)
        return worlds, core.order_start(env, worlds)

    def settle(worlds: core.Worlds, order: core.Order, state: Any) -> core.Worlds:
        return core.settle(env, worlds, order, state)

    if env.engine:
        begin, settle = jax.jit(begin), jax.jit(settle)

    def start(keys: Key[Array, " N"]) -> core.Worlds:
        worlds, order = begin(keys)
        return settle(worlds, order, core.simulate(env, worlds.state, order))

    return start


def unroller(env: core.Env, turn: Turn, steps_per_goal: int | None = None) -> Unroll:
    """Make the function that takes turns over time: pure JAX, or a loop around the engine."""

    def settle(worlds: core.Worlds, order: core.Order, state: Any) -> core.Worlds:
        return core.settle(env, worlds, order, state, steps_per_goal)

    def scan(context: Any, worlds: core.Worlds, inputs: Any) -> tuple[core.Worlds, Any]:
        def step(worlds: core.Worlds, one: Any) -> tuple[core.Worlds, Any]:
            order, record = turn(context, worlds, one)
            return settle(worlds, order, core.simulate(env, worlds.state, order)), record

        return jax.lax.scan(step, worlds, inputs)

    return _host_loop(env, turn, settle) if env.engine else scan


def _host_loop(env: core.Env, turn: Turn, settle: Callable[..., core.Worlds]) -> Unroll:
    """Python is at work once a step for all worlds; records are written in place, on the agent's device."""

    def one_of(inputs: Any, t: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[t], inputs)

    @jax.jit
    def records_for(context: Any, worlds: core.Worlds, inputs: Any) -> Any:
        steps = jax.tree.leaves(inputs)[0].shape[0]
        record = jax.eval_shape(lambda: turn(context, worlds, one_of(inputs, jnp.int32(0)))[1])
        return jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), record)

    def take(context: Any, worlds: core.Worlds, inputs: Any, records: Any, t: Array) -> tuple[core.Order, Any]:
        order, record = turn(context, worlds, one_of(inputs, t))
        return order, jax.tree.map(lambda all, new: all.at[t].set(new), records, record)

    def settle_all_but_state(worlds: core.Worlds, order: core.Order, state: Any) -> core.Worlds:
        return settle(worlds, order, state)._replace(state=())

    take, settle_rest = jax.jit(take, donate_argnums=3), jax.jit(settle_all_but_state)

    def loop(context: Any, worlds: core.Worlds, inputs: Any) -> tuple[core.Worlds, Any]:
        records = records_for(context, worlds, inputs)
        for t in range(jax.tree.leaves(inputs)[0].shape[0]):
            order, records = take(context, worlds, inputs, records, jnp.int32(t))
            state = core.simulate(env, worlds.state, order)
            worlds = settle_rest(worlds, order, state)._replace(state=state)  # it stays in the engine's memory
        return worlds._replace(state=jax.tree.map(jnp.asarray, worlds.state)), records

    return loop


def collector(
    env: core.Env, act: Act, resample_goals: bool, steps_per_goal: int | None = None
) -> Callable[[Any, core.Worlds, Key[Array, " T"]], tuple[core.Worlds, Trajectory]]:
    """Make the function of (context, worlds, keys (T,)) that records T rows of every world, leaves (T, N, …).

    For `resample_goals` see `envs.core.order_next`, for `steps_per_goal` `envs.core.settle`.
    """

    def turn(context: Any, worlds: core.Worlds, key: PRNGKeyArray) -> tuple[core.Order, Trajectory]:
        obs = core.observe(env, worlds)
        action = act(context, obs, worlds.goal, key)
        row = Trajectory(obs, action, worlds.goal, worlds.steps == 0, worlds.terminated)
        return core.order_next(env, worlds, action, resample_goals), row

    return unroller(env, turn, steps_per_goal)
