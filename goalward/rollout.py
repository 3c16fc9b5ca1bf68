"""Run all worlds over time: one compiled scan, or a loop around an engine that lives outside of JAX."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from goalward.envs import core
from goalward.types import Trajectory

# (context, obs (N, D), goal (N, G), one of the inputs) -> a chunk of H actions, one after the other, (N, H·A).
# The context is what changes between calls, the agent; the input is a key, or what else there is for each step.
Act = Callable[[Any, Array, Array, Any], Array]
# (worlds, obs (N, D), action (N, A), one of the inputs) -> (what worlds do next, what is recorded of them now)
Turn = Callable[[core.Worlds, Array, Array, Any], tuple[core.Order, Any]]
# (context, worlds, pending, inputs (T, …)) -> (worlds and what is pending after T steps, records (T, …))
Unroll = Callable[[Any, core.Worlds, Any, Any], tuple[core.Worlds, Any, Any]]


class Pending(NamedTuple):
    """The chunks of H actions that worlds are in the midst of, leaves (N, …).

    With H = 1 nothing is ever pending, and `()` stands in its place: it takes part in no program or file.
    """

    actions: Array  # (N, H·A) of the whole chunk, one after the other
    taken: Array  # (N,) int32, how many of them


def nothing_pending(env: core.Env, worlds: int, chunk: int) -> Pending | tuple[()]:
    """What is pending in so many worlds before their first step."""
    if chunk == 1:
        return ()
    return Pending(jnp.zeros((worlds, chunk * env.spec.action_dim)), jnp.zeros(worlds, jnp.int32))


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
        return core.complete(env, settle(worlds, order, core.simulate(env, worlds.state, order)))

    return start


def one_by_one(act: Act, chunk: int) -> Callable[..., tuple[Array, Any]]:
    """Make the function of (context, worlds, pending, obs, input) that gives each world's next action, (N, A).

    A world needs a new chunk at the first step of an episode, and where all of its last one is taken; `act` is
    computed in steps in which any world does. A goal that moves within a chunk is heeded by the next one.
    """

    def only(context: Any, worlds: core.Worlds, pending: tuple[()], obs: Array, one: Any) -> tuple[Array, Any]:
        return act(context, obs, worlds.goal, one), pending

    def following(
        context: Any, worlds: core.Worlds, pending: Pending, obs: Array, one: Any
    ) -> tuple[Array, Any]:
        due = (worlds.steps == 0) | (pending.taken >= chunk)

        def renew() -> Pending:
            new = Pending(act(context, obs, worlds.goal, one), jnp.zeros_like(pending.taken))
            return core.select(due, new, pending)

        actions, taken = jax.lax.cond(jnp.any(due), renew, lambda: pending)
        each = actions.reshape(actions.shape[0], chunk, -1)
        action = jnp.take_along_axis(each, taken[:, None, None], axis=1)[:, 0]
        return action, Pending(actions, taken + 1)

    return only if chunk == 1 else following


def unroller(env: core.Env, act: Act, chunk: int, turn: Turn, steps_per_goal: int | None = None) -> Unroll:
    """Make the function that acts over time, in chunks: pure JAX, or a loop around the engine."""
    choose = one_by_one(act, chunk)

    def decide(context: Any, worlds: core.Worlds, pending: Any, one: Any) -> tuple[core.Order, Any, Any]:
        obs = core.observe(env, worlds)
        action, pending = choose(context, worlds, pending, obs, one)
        order, record = turn(worlds, obs, action, one)
        return order, pending, record

    def settle(worlds: core.Worlds, order: core.Order, state: Any) -> core.Worlds:
        return core.settle(env, worlds, order, state, steps_per_goal)

    def scan(context: Any, worlds: core.Worlds, pending: Any, inputs: Any) -> tuple[core.Worlds, Any, Any]:
        def step(carry: tuple[core.Worlds, Any], one: Any) -> tuple[tuple[core.Worlds, Any], Any]:
            worlds, pending = carry
            order, pending, record = decide(context, worlds, pending, one)
            return (settle(worlds, order, core.simulate(env, worlds.state, order)), pending), record

        carry, records = jax.lax.scan(step, (worlds, pending), inputs)
        return *carry, records

    return _host_loop(env, decide, settle) if env.engine else scan


def _host_loop(
    env: core.Env, decide: Callable[..., tuple[core.Order, Any, Any]], settle: Callable[..., core.Worlds]
) -> Unroll:
    """Python is at work once a step for all worlds; records are written in place, on the agent's device."""

    def one_of(inputs: Any, t: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[t], inputs)

    @jax.jit
    def records_for(context: Any, worlds: core.Worlds, pending: Any, inputs: Any) -> Any:
        steps = jax.tree.leaves(inputs)[0].shape[0]
        record = jax.eval_shape(lambda: decide(context, worlds, pending, one_of(inputs, jnp.int32(0)))[2])
        return jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), record)

    @lru_cache
    def taker(structure: Any) -> Callable[..., tuple[core.Order, Any, Any]]:
        """A step for contexts of one structure, given as leaves: taken apart once a loop, not each step."""

        def take(
            leaves: list[Any], worlds: core.Worlds, pending: Any, inputs: Any, records: Any, t: Array
        ) -> tuple[core.Order, Any, Any]:
            context = jax.tree.unflatten(structure, leaves)
            order, pending, record = decide(context, worlds, pending, one_of(inputs, t))
            return order, pending, jax.tree.map(lambda all, new: all.at[t].set(new), records, record)

        return jax.jit(take, donate_argnums=(2, 4))

    def settle_all_but_state(worlds: core.Worlds, order: core.Order, state: Any) -> core.Worlds:
        return settle(worlds, order, state)._replace(state=())

    settle_rest = jax.jit(settle_all_but_state)

    def loop(context: Any, worlds: core.Worlds, pending: Any, inputs: Any) -> tuple[core.Worlds, Any, Any]:
        records = records_for(context, worlds, pending, inputs)
        pending = jax.tree.map(jnp.copy, pending)  # each step uses up the last one's, but not the caller's
        leaves, structure = jax.tree.flatten(context)
        take = taker(structure)
        for t in range(jax.tree.leaves(inputs)[0].shape[0]):
            order, pending, records = take(leaves, worlds, pending, inputs, records, np.int32(t))
            state = core.simulate(env, worlds.state, order)
            worlds = settle_rest(worlds, order, state)._replace(state=state)  # it stays in the engine's memory
        worlds = core.complete(env, worlds)
        return worlds._replace(state=jax.tree.map(jnp.asarray, worlds.state)), pending, records

    return loop


def collector(
    env: core.Env, act: Act, resample_goals: bool, steps_per_goal: int | None = None, chunk: int = 1
) -> Callable[[Any, core.Worlds, Any, Key[Array, " T"]], tuple[core.Worlds, Any, Trajectory]]:
    """Make the function of (context, worlds, pending, keys (T,)) that records T rows of every world.

    It gives worlds and what is pending after them, and the rows, leaves (T, N, …), each with a single action.
    `act` gives `chunk` actions at a time. For `resample_goals` see `envs.core.order_next`, for `steps_per_goal`
    `envs.core.settle`.
    """

    def turn(
        worlds: core.Worlds, obs: Array, action: Array, key: PRNGKeyArray
    ) -> tuple[core.Order, Trajectory]:
        del key
        row = Trajectory(obs, action, worlds.goal, worlds.steps == 0, worlds.terminated)
        return core.order_next(env, worlds, action, resample_goals), row

    return unroller(env, act, chunk, turn, steps_per_goal)
