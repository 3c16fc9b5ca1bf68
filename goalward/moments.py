"""Mean and variance of what has been seen so far, to bring inputs to one scale."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

# No input counts for less than this deviation, in its own unit: what never moved is not blown up when it does.
LEAST_DEVIATION = 0.01
# Normalised inputs are held within ± this.
BOUND = 10.0


class Moments(NamedTuple):
    """Of vectors with D elements."""

    seen: Float[Array, ""]  # vectors
    mean: Float[Array, " D"]
    variance: Float[Array, " D"]


def init(size: int) -> Moments:
    """Nothing seen: `normalise` then changes nothing but what is out of bounds."""
    return Moments(jnp.zeros(()), jnp.zeros(size), jnp.ones(size))


def add(moments: Moments, x: Float[Array, "B D"]) -> Moments:
    """Merge with the moments of a batch: variances add up, and the square of what their means differ by."""
    seen = moments.seen + x.shape[0]
    share = x.shape[0] / seen
    difference = jnp.mean(x, axis=0) - moments.mean
    within = (1 - share) * moments.variance + share * jnp.var(x, axis=0)
    return Moments(seen, moments.mean + share * difference, within + share * (1 - share) * difference**2)


def normalise(moments: Moments, x: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
    """Shift and scale `x` to mean 0 and deviation 1."""
    deviation = jnp.maximum(jnp.sqrt(moments.variance), LEAST_DEVIATION)
    mean, deviation = (jnp.broadcast_to(each, x.shape) for each in (moments.mean, deviation))
    return jnp.clip((x - mean) / deviation, -BOUND, BOUND)
