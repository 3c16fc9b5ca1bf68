"""The contract of an environment, with time limit, automatic reset and goals in one place.

A step of all worlds has three parts: an `Order` (who goes on, who starts anew, with which control), the
simulation it is for, and what is settled after it. The first and the last are pure JAX. The simulation is
too, or it is an `Engine` that lives outside of JAX; `goalward.rollout` runs either kind.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from goalward.envs.maze import Maze
from goalward.types import EnvSpec

# What a world does next.
GO, START, STAY = 0, 1, 2


class Engine(NamedTuple):
    """Physics of all worlds on the host, outside of JAX; `state` is a pytree of arrays with leaves (N, …)."""

    control: Callable[[Any, Array], Array]  # (state, action (A,)) -> control, pure JAX of one world
    # (state, control, turn, start), NumPy, leaves (N, …) -> state; a function of these alone
    advance: Callable[[Any, np.ndarray, np.ndarray, Any], Any]
    blank: Callable[[int], Any]  # N -> a state of that shape, before any start
    faults: Callable[[Any], Array]  # state -> (N,) how often a world's physics broke down, since `blank`
    # state -> the same, with all that another process needs to go on from it, where steps leave that out.
    complete: Callable[[Any], Any] | None = None
    keeps: bool = True  # whether a state goes on in another process; else episodes start anew there
    close: Callable[[], None] | None = (
        None  # ends what is open; states go on after it only if they are complete
    )


class Film(NamedTuple):
    """How an environment that draws itself is asked for pictures."""

    rate: float  # steps a second
    frames: Callable[[Iterable[Any]], Iterator[np.ndarray]]  # states -> pictures (height, width, 3) uint8


class Env(NamedTuple):
    """Functions of one world, pure JAX; `state` is any pytree.

    Without an engine, `reset` gives the state an episode starts in and `step` the next state. With one, `reset`
    gives what the engine starts a world from, and there is no `step`. The `version` is raised whenever the same
    actions lead to other rows; runs record it.
    """

    name: str
    spec: EnvSpec
    reset: Callable[[PRNGKeyArray], tuple[Any, Array]]  # key -> (start, goal (G,)), equal for equal keys
    step: Callable[[Any, Array], Any] | None  # (state, action (A,)) -> state
    observe: Callable[[Any], Array]  # state -> observation (D,)
    terminated: Callable[[Any], Array]  # state -> bool: ends the episode before its time limit
    maze: Maze | None = None  # walls, where there are any
    to_cells: Callable[[np.ndarray], np.ndarray] | None = (
        None  # positions (…, 2 or more) -> (row, column) in it
    )
    engine: Engine | None = None
    follow: Callable[[Any, Array], Array] | None = None  # (state, goal) -> goal: for goals that move
    # Of a grid: observations or goals (…, D) -> what its cells hold (…, rows, columns), for pictures.
    cells: Callable[[Array], Array] | None = None
    task: Any = None  # what pictures are made from, where the engine is ours
    constant: tuple[int, ...] = ()  # of the observation, what random actions seldom or never change
    version: int = 1
    # Of environments that others wrote:
    source: str = ""  # SHA-256 of what it is made of, where that is a person's own file
    truncated: Callable[[Any], Array] | None = None  # state -> bool: ends it as a time limit does, before ours
    # State -> the goal of an episode that starts there, in place of the one of `reset`.
    commanded: Callable[[Any], Array] | None = None
    film: Film | None = None  # what pictures are made from, where it draws itself


class Entry(NamedTuple):
    """What is known of an environment before it is built."""

    build: Callable[[str, Any], Any]  # (name, settings) -> `Env`, or the `Task` that an engine makes one of
    settings: Any  # a dataclass, with its defaults
    preset: str  # what it is learned with on a laptop, a file of `goalward.presets`
    is_own: bool = False  # whether a person's own code builds it


class Worlds(NamedTuple):
    """N running episodes, leaves (N, …)."""

    state: Any
    goal: Array
    key: Key[Array, " N"]  # of this episode; `start` says what is drawn from it
    steps: Array  # int32, steps taken in this episode
    terminated: Array


class Order(NamedTuple):
    """What all worlds do next, leaves (N, …)."""

    turn: Array  # int32: GO, START or STAY
    control: Array  # of those that go: the action, or what the engine's `control` makes of it
    start: Any  # of those that start
    goal: Array  # likewise
    key: Key[Array, " N"]  # likewise


def blank(env: Env, keys: Key[Array, " N"]) -> Worlds:
    """Worlds of the right shapes, before any start. `keys`: (N,)."""
    number = keys.shape[0]
    start, goal = _zeros(env, keys)
    state = env.engine.blank(number) if env.engine else start
    return Worlds(state, goal, keys, jnp.zeros(number, jnp.int32), jnp.zeros(number, bool))


def order_start(env: Env, worlds: Worlds) -> Order:
    """Every world starts the episode of its key."""
    number = worlds.key.shape[0]
    start, goal = draw_starts(env, worlds.key)
    idle = control(env, worlds.state, jnp.zeros((number, env.spec.action_dim)))
    return Order(jnp.full(number, START, jnp.int32), idle, start, goal, worlds.key)


def draw_starts(env: Env, keys: Key[Array, " N"]) -> tuple[Any, Array]:
    """Start and goal of the episodes of some keys, leaves (N, …)."""
    # Of an episode's key, 0 is folded in for its reset, 1 for the next episode, more for its other goals.
    return jax.vmap(lambda key: env.reset(jax.random.fold_in(key, 0)))(keys)


def _zeros(env: Env, keys: Key[Array, " N"]) -> tuple[Any, Array]:
    """What stands in for starts and goals where no world starts, leaves (N, …)."""
    drawn = jax.eval_shape(lambda keys: draw_starts(env, keys), keys)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), drawn)


def control(env: Env, state: Any, action: Array) -> Array:
    """What the simulation is told for an action (N, A), which is clipped to [−1, 1]."""
    action = jnp.clip(action, -1.0, 1.0)
    return jax.vmap(env.engine.control)(state, action) if env.engine else action


def spanned(low: Array, high: Array, action: Array) -> Array:
    """Numbers (A,) of a range for actions (A,) in [−1, 1]."""
    return low + (action + 1.0) / 2.0 * (high - low)


def euclidean(achieved: Array, wanted: Array) -> Array:
    """The distance of goals (…, G) from others, (…,)."""
    return jnp.linalg.norm(achieved - wanted, axis=-1)


def order_next(env: Env, worlds: Worlds, action: Array, resample_goals: bool) -> Order:
    """Running episodes go on with `action` (N, A); where one has ended, the next one starts.

    With `resample_goals` a new episode draws a new start and goal; without it, every episode of a
    world repeats the first one's, as in the scaling-crl code base.
    """
    over = ended(env, worlds) | (worlds.steps >= env.spec.episode_length)
    keys = worlds.key
    if resample_goals:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    start, goal = jax.lax.cond(jnp.any(over), lambda: draw_starts(env, keys), lambda: _zeros(env, keys))
    return Order(jnp.where(over, START, GO), control(env, worlds.state, action), start, goal, keys)


def order_once(env: Env, worlds: Worlds, action: Array) -> Order:
    """Running episodes go on with `action` (N, A); worlds whose episode has ended stay where they are."""
    turn = jnp.where(ended(env, worlds), STAY, GO)
    start, goal = _zeros(env, worlds.key)
    return Order(turn, control(env, worlds.state, action), start, goal, worlds.key)


def ended(env: Env, worlds: Worlds) -> Array:
    """Whether the environment has ended an episode, (N,)."""
    if env.truncated is None:
        return worlds.terminated
    return worlds.terminated | jax.vmap(env.truncated)(worlds.state)


def simulate(env: Env, state: Any, order: Order) -> Any:
    """The state of all worlds after an order; on the host where there is an engine."""
    if env.engine:
        host = jax.tree.map(np.asarray, (state, order.control, order.turn, order.start))
        return env.engine.advance(*host)
    if env.step is None:
        raise TypeError(f"{env.name} has neither a step nor an engine")
    gone = select(order.turn == GO, jax.vmap(env.step)(state, order.control), state)
    return select(order.turn == START, order.start, gone)


def settle(env: Env, worlds: Worlds, order: Order, state: Any, steps_per_goal: int | None = None) -> Worlds:
    """All worlds after an order that led to `state`.

    After each `steps_per_goal` steps of an episode another goal is drawn, as for a new episode.
    """
    going, starting = order.turn == GO, order.turn == START
    if env.commanded is not None:
        order = order._replace(goal=jax.vmap(env.commanded)(state))
    terminated = (going & jax.vmap(env.terminated)(state)) | (~going & ~starting & worlds.terminated)
    settled = Worlds(
        state=state,
        goal=select(starting, order.goal, worlds.goal),
        key=jnp.where(starting, order.key, worlds.key),
        steps=jnp.where(starting, 0, worlds.steps + going.astype(jnp.int32)),
        terminated=terminated,
    )
    if steps_per_goal is not None:
        settled = _command_again(env, settled, going & (settled.steps % steps_per_goal == 0))
    if env.follow is not None:
        settled = settled._replace(goal=jax.vmap(env.follow)(state, settled.goal))
    return settled


def _command_again(env: Env, worlds: Worlds, due: Array) -> Worlds:
    """Draw another goal in the worlds that are `due` (N,)."""

    def draw(worlds: Worlds) -> Worlds:
        keys = jax.vmap(lambda key, steps: jax.random.fold_in(key, 1 + steps))(worlds.key, worlds.steps)
        _, goal = jax.vmap(env.reset)(keys)
        return worlds._replace(goal=select(due, goal, worlds.goal))

    return jax.lax.cond(jnp.any(due), draw, lambda worlds: worlds, worlds)


def complete(env: Env, worlds: Worlds) -> Worlds:
    """The same worlds, with all that another process needs to go on from them."""
    if env.engine is None or env.engine.complete is None:
        return worlds
    state = env.engine.complete(jax.tree.map(np.asarray, worlds.state))
    return worlds._replace(state=jax.tree.map(jnp.asarray, state))


def observe(env: Env, worlds: Worlds) -> Array:
    """Observations of all worlds, (N, D)."""
    return jax.vmap(env.observe)(worlds.state)


def select(chosen: Array, new: Any, old: Any) -> Any:
    """Leaves (N, …) of `new` where `chosen` (N,) is true, else of `old`."""

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)
