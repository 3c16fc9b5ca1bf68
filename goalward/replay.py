"""A ring of trajectories, written in place, with hindsight goals drawn in O(1) a sample.

Time is absolute: row t of a world is its t-th row since the start of training and lives in slot
t mod C. A row's future is the rest of its episode that is already in the ring.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from goalward.types import Batch, Trajectory

# (u ~ U[0, 1), steps left K ≥ 1) -> steps ahead, 1 … K
Horizon = Callable[[Float[Array, " B"], Int[Array, " B"]], Int[Array, " B"]]

# With so few rows a world always holds two consecutive rows of one episode.
MIN_ROWS = 3


class Replay(NamedTuple):
    """The ring and its clock."""

    rows: Trajectory  # leaves (C, N, …)
    last: Int[Array, "C N"]  # absolute time of the last row, so far, of this row's episode
    inserted: Int[Array, ""]  # rows written to each world since the start


def init(row: Trajectory, capacity: int) -> Replay:
    """Make an empty ring of `capacity` rows a world; `row` has the leaves (N, …) of one time step."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    last = jnp.full((capacity, *row.first.shape), -2, jnp.int32)
    return Replay(rows, last, jnp.zeros((), jnp.int32))


def insert(replay: Replay, chunk: Trajectory) -> Replay:
    """Write T rows of every world over the oldest ones. Leaves of `chunk`: (T, N, …), T ≤ C."""
    steps, capacity = chunk.first.shape[0], replay.last.shape[0]
    if steps > capacity:
        raise ValueError(f"a chunk of {steps} rows does not fit into a ring of {capacity}")
    index = jnp.arange(steps, dtype=jnp.int32)
    slots = (replay.inserted + index) % capacity
    ends_here = jnp.roll(chunk.first, -1, axis=0).at[-1].set(True)
    end = jax.lax.cummin(jnp.where(ends_here, index[:, None], steps - 1), axis=0, reverse=True)
    end = replay.inserted + end
    # An episode that was open before this chunk and goes on in it now ends later.
    goes_on = (replay.last == replay.inserted - 1) & ~chunk.first[:1]
    last = jnp.where(goes_on, end[:1], replay.last)
    rows = jax.tree.map(lambda ring, new: ring.at[slots].set(new), replay.rows, chunk)
    return Replay(rows, last.at[slots].set(end), replay.inserted + steps)


def sample(
    replay: Replay,
    achieved: Callable[[Array], Array],
    horizon: Horizon,
    batch_size: int,
    key: PRNGKeyArray,
) -> Batch:
    """Draw rows uniformly among those that have a future, each with a goal achieved in that future.

    Needs at least `MIN_ROWS` rows in every world. `achieved` maps observations (B, D) to goals (B, G).
    """
    row_key, horizon_key = jax.random.split(key)
    time, world, steps_left = _rows_with_future(replay, batch_size, row_key)
    ahead = horizon(jax.random.uniform(horizon_key, (batch_size,)), steps_left)
    capacity = replay.last.shape[0]
    now, future = time % capacity, (time + ahead) % capacity
    rows = replay.rows
    goal = achieved(rows.obs[future, world])
    return Batch(rows.obs[now, world], rows.action[now, world], goal, rows.goal[now, world])


def _rows_with_future(
    replay: Replay, batch_size: int, key: PRNGKeyArray
) -> tuple[Int[Array, " B"], Int[Array, " B"], Int[Array, " B"]]:
    """Absolute time, world and steps left of uniform rows; those without a future are drawn again."""
    capacity, worlds = replay.last.shape
    oldest = jnp.maximum(replay.inserted - capacity, 0)

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
