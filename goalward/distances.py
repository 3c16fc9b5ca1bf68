"""Distances between representations that measure time: ‖φ(s, a) − ψ(g)‖ ≈ κ × steps (arXiv 2609.36238)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from goalward.losses import masked_mean


def time_regression(
    distance: Float[Array, " B"], scale: float, events: Bool[Array, " B"], steps: Int[Array, " B"]
) -> Float[Array, ""]:
    """Huber loss, δ = 1, of d − κ τ over `events`, rows whose goal is reached, τ = `steps` ≥ 1 later.

    κ = `scale`, a step's share of distance. It is of the order of what a difference of squared norms loses to
    rounding, so distances have to be those of row with row, not the diagonal of a matrix product.
    """
    error = distance - scale * steps.astype(jnp.float32)
    size = jnp.abs(error)
    huber = jnp.where(size <= 1, 0.5 * error**2, size - 0.5)
    return masked_mean(huber, events & (steps >= 1))


def separation(
    distances: Float[Array, "B B"], margin: float, apart: Bool[Array, "B B"], unreached: Bool[Array, " B"]
) -> Float[Array, ""]:
    """Hinge max(0, margin − d_ij): its mean over other rows' goals where `apart`, and d_ii where `unreached`.

    `apart` says whether two rows' goals are further from each other than what counts as reached.
    """
    own = jnp.eye(len(distances), dtype=bool)
    return masked_mean(jax.nn.relu(margin - distances), jnp.where(own, unreached[:, None], apart))
