"""Futures that a failure cuts short, a fall for instance (arXiv 2608.26571).

L rows before a failure, 1 − γᴸ of the discounted future is left, and 1 where the episode goes on. The mean of
that given s and a is Z(s, a), by which a law of future goals has to be multiplied: it is 1 in all, however
near the failure is. Z is learned as the probability of a label.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from goalward.losses import masked_mean


def mass_weights(left: Int[Array, " B"], failed: Bool[Array, " B"], discount: float) -> Float[Array, " B"]:
    """1 − γᴸ where the episode failed L = `left` rows later, else 1."""
    return jnp.where(failed, -jnp.expm1(left.astype(jnp.float32) * math.log(discount)), 1.0)


def survival_labels(
    left: Int[Array, " B"], failed: Bool[Array, " B"], discount: float, uniform: Float[Array, " B"]
) -> tuple[Bool[Array, " B"], Bool[Array, " B"]]:
    """Whether there is no failure within H more steps, P(H ≥ h) = γʰ, and whether that is known.

    It is true with probability 1 − γᴸ where the episode failed L = `left` rows later. It is not known where
    rows end, without a failure, before H do; nor where no row is left, whose action is without effect.
    H = ⌊log(1 − u) / log γ⌋ for u = `uniform` in [0, 1).
    """
    steps, rows = jnp.floor(jnp.log1p(-uniform) / math.log(discount)), left.astype(jnp.float32)
    return ~failed | (steps < rows), (left > 0) & (failed | (steps <= rows))


def survival_loss(
    logit: Float[Array, " B"], survived: Bool[Array, " B"], known: Bool[Array, " B"]
) -> Float[Array, ""]:
    """Binary cross-entropy of σ(logit) = Z(s, a) with labels, over the known ones."""
    return masked_mean(jax.nn.softplus(jnp.where(survived, -logit, logit)), known)


def log_mass(logit: Float[Array, " B"]) -> Float[Array, " B"]:
    """Give log Z = log σ(logit) = −softplus(−logit), at most 0."""
    return -jax.nn.softplus(-logit)
