"""A ring of trajectories, written in place, with hindsight goals drawn in O(1) a sample.

Time is absolute: row t of a world is its t-th row since the start of training and lives in slot
t mod C. A row's future is the rest of its episode that is already in the ring.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from goalward import reach
from goalward.returns import Returns, returns
from goalward.types import Batch, EnvSpec, Next, Trajectory

# (u ~ U[0, 1), steps left K ≥ 1) -> steps ahead, 1 … K
Horizon = Callable[[Float[Array, " B"], Int[Array, " B"]], Int[Array, " B"]]

# With so few rows a world always holds two consecutive rows of one episode.
MIN_ROWS = 3


class Relabel(NamedTuple):
    """Which goals, and what else, a batch is drawn with."""

    horizon: Horizon  # law of goals that were achieved later in the episode
    current: float = 0.0  # share of samples whose goal is what the row itself achieved
    random: float = 0.0  # share whose goal was achieved in any row of the same world that the ring holds
    final: float = 0.0  # share whose goal is what the episode has achieved last, so far
    commanded: float = 0.0  # share whose goal is the one that was commanded
    chunk: int = 1  # actions of a sample
    outcomes: bool = False  # whether `Batch.left` and `Batch.failed` are told
    window: int | None = None  # within so many steps the goal is searched for, and `Batch.reach` told
    # A goal that is not reached: as many steps as the ring shows of the episode, or the window, count as seen.
    censoring: Literal["observed", "window"] = "observed"
    # Edges 1 = e₀ < e₁ < … of bins of future steps, [eₖ, eₖ₊₁), for `Reach.near`; it needs a window.
    occupancy: tuple[int, ...] = ()
    returns: Returns | None = None  # rewards for `Batch.next`
    per_episode: int = 1  # samples, one after the other, that are drawn from one episode


class Replay(NamedTuple):
    """The ring and its clock."""

    rows: Trajectory  # leaves (C, N, …)
    last: Int[Array, "C N"]  # absolute time of the last row, so far, of this row's episode
    inserted: Int[Array, ""]  # rows written to each world since the start
    # From `index`, for as long as no row is inserted: what rows achieved, and the absolute time of the first
    # row in the ring of each row's episode.
    places: Float[Array, "N S G"] | None = None
    begin: Int[Array, "C N"] | None = None


def init(row: Trajectory, capacity: int) -> Replay:
    """Make an empty ring of `capacity` rows a world; `row` has the leaves (N, …) of one time step."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    last = jnp.full((capacity, *row.first.shape), -2, jnp.int32)
    return Replay(rows, last, jnp.zeros((), jnp.int32))


def insert(replay: Replay, block: Trajectory) -> Replay:
    """Write T rows of every world over the oldest ones. Leaves of `block`: (T, N, …), T ≤ C."""
    steps, capacity = block.first.shape[0], replay.last.shape[0]
    if steps > capacity:
        raise ValueError(f"a block of {steps} rows does not fit into a ring of {capacity}")
    index = jnp.arange(steps, dtype=jnp.int32)
    slots = (replay.inserted + index) % capacity
    ends_here = jnp.roll(block.first, -1, axis=0).at[-1].set(True)
    end = jax.lax.cummin(jnp.where(ends_here, index[:, None], steps - 1), axis=0, reverse=True)
    end = replay.inserted + end
    # An episode that was open before this block and goes on in it now ends later.
    goes_on = (replay.last == replay.inserted - 1) & ~block.first[:1]
    last = jnp.where(goes_on, end[:1], replay.last)
    rows = jax.tree.map(lambda ring, new: ring.at[slots].set(new), replay.rows, block)
    return Replay(rows, last.at[slots].set(end), replay.inserted + steps)


def index(replay: Replay, spec: EnvSpec, relabel: Relabel) -> Replay:
    """Lay out what samples are found by, once for many of them; nothing where nothing is asked for."""
    if relabel.window is not None and replay.places is None:
        replay = replay._replace(places=reach.places(spec.achieved(replay.rows.obs)))
    if relabel.per_episode > 1 and replay.begin is None:
        replay = replay._replace(begin=_begin(replay))
    return replay


def _begin(replay: Replay) -> Int[Array, "C N"]:
    """Absolute time of the first row, of those in the ring, of each row's episode."""
    capacity = replay.last.shape[0]
    time = _oldest(replay) + jnp.arange(capacity, dtype=jnp.int32)
    slots = time % capacity
    starts = replay.rows.first[slots].at[0].set(True)
    begin = jax.lax.cummax(jnp.where(starts, time[:, None], -1), axis=0)
    return jnp.zeros_like(begin).at[slots].set(begin)


def sample(replay: Replay, spec: EnvSpec, relabel: Relabel, batch_size: int, key: PRNGKeyArray) -> Batch:
    """Draw rows uniformly among those that have a future, each with a goal, most often of that future.

    Needs at least `MIN_ROWS` rows in every world.
    """
    mixed = relabel.current + relabel.random + relabel.final + relabel.commanded > 0.0
    row_key, horizon_key, *kind_keys = jax.random.split(key, 4 if mixed else 2)
    time, world, left = _rows_of_episodes(replay, spec, relabel, batch_size, row_key)
    ahead = relabel.horizon(jax.random.uniform(horizon_key, (batch_size,)), left)
    goal_time, keeps = time + ahead, None
    if mixed:
        goal_time, keeps = _other_kinds(replay, relabel, (time, goal_time, time + left), *kind_keys)
    capacity = replay.last.shape[0]
    now, future = time % capacity, goal_time % capacity
    rows = replay.rows
    goal, commanded = spec.achieved(rows.obs[future, world]), rows.goal[now, world]
    if keeps is not None:
        goal = jnp.where(keeps[:, None], commanded, goal)
    action = rows.action[now, world] if relabel.chunk == 1 else _chunk(replay, relabel.chunk, time, world, left)
    batch = Batch(rows.obs[now, world], action, goal, commanded)
    return _with_hindsight(replay, spec, relabel, batch, (time, world, left))


def _other_kinds(
    replay: Replay,
    relabel: Relabel,
    times: tuple[Array, Array, Array],
    kind_key: PRNGKeyArray,
    time_key: PRNGKeyArray,
) -> tuple[Int[Array, " B"], Bool[Array, " B"] | None]:
    """Times of goals, and which samples keep the commanded one instead; None where none does.

    `times` are those of the row, of a later one, and of the last one of the episode; the second one is the
    goal's, but for the shares of others.
    """
    now, goal_time, last = times
    kind = jax.random.uniform(kind_key, now.shape)
    time = jax.random.randint(time_key, now.shape, _oldest(replay), replay.inserted)
    most, keeps = relabel.current + relabel.random + relabel.final, None
    if relabel.commanded:
        keeps = (kind >= most) & (kind < most + relabel.commanded)
    if relabel.final:
        goal_time = jnp.where(kind < most, last, goal_time)
    other = jnp.where(kind < relabel.current, now, time)
    return jnp.where(kind < relabel.current + relabel.random, other, goal_time), keeps


def _chunk(replay: Replay, number: int, time: Array, world: Array, left: Array) -> Float[Array, "B HA"]:
    """The actions of a row and of those after it. What the last row of an episode holds was not taken."""
    ahead = jnp.arange(number, dtype=jnp.int32)[None]
    slots = (time[:, None] + ahead) % replay.last.shape[0]
    taken = ahead < left[:, None]
    actions = jnp.where(taken[..., None], replay.rows.action[slots, world[:, None]], 0.0)
    return actions.reshape(actions.shape[0], -1)


def _with_hindsight(
    replay: Replay, spec: EnvSpec, relabel: Relabel, batch: Batch, drawn: tuple[Array, Array, Array]
) -> Batch:
    """Add what is asked for of the futures of the rows, given as `_rows_with_future` does."""
    time, world, left = drawn
    if relabel.chunk > 1:
        batch = batch._replace(valid=left >= relabel.chunk)
    if relabel.outcomes:
        batch = batch._replace(left=left, failed=_failed(replay, *drawn))
    if relabel.returns is not None:
        batch = batch._replace(next=_next(replay, spec, relabel.returns, batch.goal, drawn))
    if relabel.window is None:
        return batch
    places = index(replay, spec, relabel).places
    assert places is not None  # noqa: S101  # there is a window
    rows = jnp.minimum(left, relabel.window)
    future = reach.Future(world, time % replay.last.shape[0], rows, _failed(replay, *drawn))
    asked = (relabel.window, relabel.censoring, relabel.occupancy)
    return batch._replace(reach=reach.reach(places, spec, future, batch.goal, *asked))


def _next(
    replay: Replay, spec: EnvSpec, asked: Returns, goal: Array, drawn: tuple[Array, Array, Array]
) -> Next:
    """The row that some steps lead to, at most the last of the episode, and the return on the way."""
    time, world, left = drawn
    ahead = jnp.minimum(jnp.arange(1, asked.steps + 1, dtype=jnp.int32)[None], left[:, None])
    obs = replay.rows.obs[(time[:, None] + ahead) % replay.last.shape[0], world[:, None]]
    achieved = spec.achieved(obs)
    success = spec.success(achieved, jnp.broadcast_to(goal[:, None], achieved.shape))
    return Next(obs[:, -1], *returns(asked, success, left, _failed(replay, *drawn)))


def _failed(replay: Replay, time: Array, world: Array, left: Array) -> Bool[Array, " B"]:
    return replay.rows.terminated[(time + left) % replay.last.shape[0], world]


def _oldest(replay: Replay) -> Int[Array, ""]:
    """Absolute time of the oldest row in the ring."""
    return jnp.maximum(replay.inserted - replay.last.shape[0], 0)


def _rows_of_episodes(
    replay: Replay, spec: EnvSpec, relabel: Relabel, batch_size: int, key: PRNGKeyArray
) -> tuple[Int[Array, " B"], Int[Array, " B"], Int[Array, " B"]]:
    """As `_rows_with_future`, but so many of one episode, each uniform among its rows that have a future."""
    number = relabel.per_episode
    if number == 1:
        return _rows_with_future(replay, batch_size, key)
    row_key, within_key = jax.random.split(key)
    time, world, left = _rows_with_future(replay, batch_size // number, row_key)
    begin = index(replay, spec, relabel).begin
    assert begin is not None  # noqa: S101  # it was asked for
    first = begin[time % replay.last.shape[0], world]
    last = time + left
    first, last, world = (jnp.repeat(each, number) for each in (first, last, world))
    time = jax.random.randint(within_key, first.shape, first, last)
    return time, world, last - time


def _rows_with_future(
    replay: Replay, batch_size: int, key: PRNGKeyArray
) -> tuple[Int[Array, " B"], Int[Array, " B"], Int[Array, " B"]]:
    """Absolute time, world and steps left of uniform rows; those without a future are drawn again."""
    capacity, worlds = replay.last.shape
    oldest = _oldest(replay)

    def draw(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        time_key, world_key = jax.random.split(key)
        time = jax.random.randint(time_key, (batch_size,), oldest, replay.inserted)
        world = jax.random.randint(world_key, (batch_size,), 0, worlds)
        return time, world, replay.last[time % capacity, world] - time

    def redraw(carry: tuple[PRNGKeyArray, tuple[Array, Array, Array]]):
        key, drawn = carry
        key, draw_key = jax.random.split(key)
        has_future = drawn[2] > 0
        return key, jax.tree.map(lambda old, new: jnp.where(has_future, old, new), drawn, draw(draw_key))

    key, first_key = jax.random.split(key)
    start = (key, draw(first_key))
    _, drawn = jax.lax.while_loop(lambda carry: jnp.any(carry[1][2] <= 0), redraw, start)
    return drawn


def shift(
    batch: Batch,
    axes: tuple[tuple[int, ...], ...],
    achieved: Callable[[Array], Array],
    deviation: float,
    key: PRNGKeyArray,
) -> Batch:
    """Move a batch, observations and goals alike, along `axes` (`EnvSpec.shifts`) by a normal random vector.

    It is one vector for all samples: the goals of others are as hard to tell from one's own as before.
    """
    amounts = deviation * jax.random.normal(key, (len(axes),))
    by = jnp.zeros(batch.obs.shape[1])
    for axis, amount in zip(axes, amounts, strict=True):
        by = by.at[jnp.asarray(axis)].set(amount)
    by_goal = achieved(by)[None]
    if batch.next is not None:
        batch = batch._replace(next=batch.next._replace(obs=batch.next.obs + by[None]))
    return batch._replace(
        obs=batch.obs + by[None], goal=batch.goal + by_goal, commanded=batch.commanded + by_goal
    )


def truncated_geometric(discount: float) -> Horizon:
    """P(k) ∝ γᵏ on 1 … K: geometric, renormalised over what is left of the episode (arXiv 2503.14858, §3.1).

    Drawn by inverse distribution: k = 1 + ⌊log(1 − u (1 − γᴷ)) / log γ⌋.
    """
    log_discount = math.log(discount)  # in 64 bits: near 1, rounding γ changes its logarithm most

    def draw(u: Array, steps_left: Array) -> Array:
        mass = -jnp.expm1(steps_left.astype(jnp.float32) * log_discount)
        return _clip_steps(jnp.log1p(-u * mass) / log_discount, steps_left)

    return draw


def clipped_geometric(discount: float) -> Horizon:
    """A geometric law on 1, 2, …, whose tail beyond K falls on K (as OGBench has it)."""
    log_discount = math.log(discount)  # in 64 bits: near 1, rounding γ changes its logarithm most
    return lambda u, steps_left: _clip_steps(jnp.log1p(-u) / log_discount, steps_left)


def uniform(discount: float) -> Horizon:
    """P(k) = 1/K on 1 … K; the discount plays no part."""
    del discount
    return lambda u, steps_left: _clip_steps(u * steps_left.astype(jnp.float32), steps_left)


def _clip_steps(zero_based: Array, steps_left: Array) -> Array:
    """1 + ⌊x⌋, held within 1 … K against rounding."""
    return jnp.clip(1 + jnp.floor(zero_based).astype(jnp.int32), 1, steps_left)


HORIZONS: dict[str, Callable[[float], Horizon]] = {
    "truncated_geometric": truncated_geometric,
    "clipped_geometric": clipped_geometric,
    "uniform": uniform,
}
