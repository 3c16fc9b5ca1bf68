"""Goals to practise: places that were reached before, drawn evenly over where they lie.

Drawn as they were reached, most would lie where robots stand around. Each has the weight 1 / density instead,
as in Skew-Fit (arXiv 1903.03698) with exponent −1: a place at the edge of what was reached is practised as
often as one in the middle, and what lies behind the edge is come upon from there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from goalward.replay import Replay
from goalward.types import EnvSpec

CANDIDATES = 1024  # goals among which some are drawn: a matrix of their distances is 4 MB
WIDTH = 2.0  # of the kernel that densities are estimated with, in thresholds


def command(
    spec: EnvSpec, share: float, replay: Replay, goal: Float[Array, "N G"], key: PRNGKeyArray
) -> Float[Array, "N G"]:
    """Give each world, by the chance `share`, a goal to practise in place of its own.

    While the ring is empty they keep their own.
    """
    rows_key, goals_key, worlds_key = jax.random.split(key, 3)
    reached = candidates(replay, spec, rows_key)
    chosen = evenly(reached, spec.distance, WIDTH * spec.threshold, goal.shape[0], goals_key)
    practises: Bool[Array, " N"] = jax.random.bernoulli(worlds_key, share, goal.shape[:1])
    return jnp.where((practises & (replay.inserted > 0))[:, None], reached[chosen], goal)


def candidates(replay: Replay, spec: EnvSpec, key: PRNGKeyArray) -> Float[Array, "M G"]:
    """Give what rows achieved that are drawn uniformly from the ring."""
    capacity, worlds = replay.last.shape
    row_key, world_key = jax.random.split(key)
    filled = jnp.clip(replay.inserted, 1, capacity)
    row = jax.random.randint(row_key, (CANDIDATES,), 0, filled)
    return spec.achieved(replay.rows.obs[row, jax.random.randint(world_key, (CANDIDATES,), 0, worlds)])


def evenly(
    goals: Float[Array, "M G"],
    distance: Callable[[Array, Array], Array],
    width: float,
    number: int,
    key: PRNGKeyArray,
) -> Int[Array, " {number}"]:
    """Draw which goals, each by 1 / its density: the sum over all goals of exp(−½ (distance / width)²)."""
    scaled = distance(goals[:, None], goals[None]) / width
    density = jnp.sum(jnp.exp(-0.5 * scaled**2), axis=1)
    return jax.random.categorical(key, -jnp.log(density), shape=(number,))
