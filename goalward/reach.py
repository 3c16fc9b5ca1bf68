"""When is a goal first reached after a row, and how near is it on the way? By a search through later rows.

It reads places: what every row achieved, in the order of time, so that the rows of an episode lie side by side
in memory, with the ring's first slots again behind its last ones, so that a slab of rows never wraps around.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from goalward.types import EnvSpec, Reach

# Rows that are looked at together. Most goals are reached within the first slab.
SLAB = 128
# Shares of the distance at which a goal is reached: how near it is, is within how many of them.
RADII = (1.0, 0.5, 0.25)


class Future(NamedTuple):
    """What the ring holds of the futures of some rows, leaves (B,)."""

    world: Int[Array, " B"]
    slot: Int[Array, " B"]  # of the row
    rows: Int[Array, " B"]  # how many rows after it are of its episode, and are to be looked at
    failed: Bool[Array, " B"]  # its episode ended in a termination


def places(achieved: Float[Array, "C N G"]) -> Float[Array, "N S G"]:
    """What is searched, from what every slot achieved; S = C + SLAB."""
    return jnp.pad(jnp.moveaxis(achieved, 0, 1), ((0, 0), (0, SLAB), (0, 0)), mode="wrap")


def reach(
    places: Float[Array, "N S G"],
    spec: EnvSpec,
    future: Future,
    goal: Float[Array, "B G"],
    window: int,
    censoring: str,
    edges: Sequence[int],
) -> Reach:
    """Say when goals are reached. `window`, `censoring` and `edges` of occupancy are those of a `Relabel`."""
    steps, levels = _search(places, spec, future, goal, window, keep=bool(edges))
    reached = steps <= window
    # An episode that ended in a termination is known to reach nothing any more.
    observed = jnp.where(future.failed, window, future.rows)
    unreached = observed if censoring == "observed" else jnp.full_like(steps, window)
    near = occupancy(levels, observed, edges) if edges else (None, None)
    return Reach(reached, jnp.where(reached, steps, unreached), *near)


def occupancy(
    levels: Int[Array, "B T"], observed: Int[Array, " B"], edges: Sequence[int]
) -> tuple[Float[Array, "B K"], Bool[Array, "B K"]]:
    """Mean closeness in each bin [e_k, e_{k+1}) of future steps, over 1 … `observed`; and has it such a step?

    `levels[:, i]` says within how many of the `RADII` the goal was i steps later. Without a step it is 0.
    """
    starts, ends = np.asarray(edges[:-1], np.int32), np.asarray(edges[1:], np.int32)
    steps = jnp.minimum(observed[:, None] + 1, ends[None]) - starts[None]
    # A sum for each bin reads every level once. Eight bits would not hold it.
    sums = [jnp.sum(levels[:, a:b], axis=1, dtype=jnp.int32) for a, b in pairwise(edges)]
    most = len(RADII) * jnp.maximum(steps, 1)
    return jnp.stack(sums, axis=1).astype(jnp.float32) / most.astype(jnp.float32), steps > 0


def _search(
    places: Array, spec: EnvSpec, future: Future, goal: Array, window: int, *, keep: bool
) -> tuple[Int[Array, " B"], Int[Array, "B T"]]:
    """Steps until each goal is reached, more than `window` where it is not; levels of each step, to `keep`.

    Without levels a sample's search ends where its goal is reached.
    """
    capacity, never = places.shape[1] - SLAB, window + 1
    length = -(-(window + 1) // SLAB) * SLAB if keep else 0
    within = jnp.arange(SLAB, dtype=jnp.int32)

    def search(one: tuple[Future, Array]) -> tuple[Array, Array]:
        (world, slot, rows, _), wanted = one

        def look(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            ahead, steps, levels = carry
            start = (world, (slot + ahead) % capacity, jnp.int32(0))
            seen = jax.lax.dynamic_slice(places, start, (1, SLAB, places.shape[2]))[0]
            here = jnp.broadcast_to(wanted[None], seen.shape)
            ours = ahead + within <= rows
            # The least of them, since a search for the first true element is several times slower on a CPU.
            found = jnp.min(jnp.where(spec.success(seen, here) & ours, ahead + within, never))
            if keep:
                level = jnp.where(ours, level_of(spec, seen, here), 0).astype(jnp.int8)
                levels = jax.lax.dynamic_update_slice(levels, level, (ahead,))
            return ahead + SLAB, jnp.minimum(steps, found), levels

        def goes_on(carry: tuple[Array, Array, Array]) -> Array:
            ahead, steps, _ = carry
            return ahead <= rows if keep else (ahead <= rows) & (steps == never)

        start = (jnp.int32(0), jnp.int32(never), jnp.zeros(length, jnp.int8))
        return jax.lax.while_loop(goes_on, look, start)[1:]

    # On a CPU each sample stops for itself; elsewhere all go on together until the last one is through.
    return jax.lax.platform_dependent(
        (future, goal), cpu=lambda every: jax.lax.map(search, every), default=jax.vmap(search)
    )


def level_of(spec: EnvSpec, achieved: Float[Array, "*n G"], goal: Float[Array, "*n G"]) -> Int[Array, "*n"]:
    """Within how many of the `RADII`, in thresholds of a success, a goal is achieved."""
    distance = spec.distance(achieved, goal)
    within = [(distance <= spec.threshold * radius).astype(jnp.int32) for radius in RADII]
    level = sum(within, start=jnp.zeros(distance.shape, jnp.int32))
    return level if spec.alike is None else jnp.where(spec.alike(achieved, goal), level, 0)
