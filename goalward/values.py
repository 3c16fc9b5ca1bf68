"""What a critic of returns says, and how badly: by regression, or by classification (arXiv 2403.03950).

A classified value is a distribution over bins; it is the mean of their centres. Targets are a bell curve, or
shared by the two bins next to them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Deviation of HL-Gauss's bell curve, in bins.
DEVIATION = 0.75
# Bins beyond either end: a bell curve at the end is cut by none of them, so that its mean is the value.
MARGIN = 3


class Value(NamedTuple):
    """How outputs (B, K) are read as values (B,), and held against targets (B,) by a loss (B,)."""

    outputs: int
    read: Callable[[Float[Array, "B K"]], Float[Array, " B"]]
    loss: Callable[[Float[Array, "B K"], Float[Array, " B"]], Float[Array, " B"]]


def regressed() -> Value:
    """½ (Q − y)²."""
    return Value(1, lambda out: out[:, 0], lambda out, target: 0.5 * (out[:, 0] - target) ** 2)


def hl_gauss(low: float, high: float, bins: int) -> Value:
    """Cross-entropy with p_i = Φ((e_{i+1} − y)/σ) − Φ((e_i − y)/σ), renormalised; σ is 0.75 bins."""
    width = (high - low) / bins
    edges = low + width * (jnp.arange(bins + 2 * MARGIN + 1, dtype=jnp.float32) - MARGIN)

    def target(value: Float[Array, " B"]) -> Float[Array, "B K"]:
        below = jax.scipy.special.ndtr((edges[None] - value[:, None]) / (DEVIATION * width))
        return (below[:, 1:] - below[:, :-1]) / (below[:, -1:] - below[:, :1])

    return _classified(0.5 * (edges[1:] + edges[:-1]), target, low, high)


def two_hot(low: float, high: float, bins: int) -> Value:
    """Cross-entropy with p = (c_{i+1} − y)/ς and (y − c_i)/ς on the two centres next to y, ς apart."""
    centres = jnp.linspace(low, high, bins)
    width = (high - low) / (bins - 1)

    def target(value: Float[Array, " B"]) -> Float[Array, "B K"]:
        return jax.nn.relu(1 - jnp.abs(value[:, None] - centres[None]) / width)

    return _classified(centres, target, low, high)


def _classified(
    centres: Float[Array, " K"],
    target: Callable[[Float[Array, " B"]], Float[Array, "B K"]],
    low: float,
    high: float,
) -> Value:
    def read(out: Float[Array, "B K"]) -> Float[Array, " B"]:
        return jnp.sum(jax.nn.softmax(out) * centres[None], axis=-1)

    def loss(out: Float[Array, "B K"], value: Float[Array, " B"]) -> Float[Array, " B"]:
        return -jnp.sum(target(jnp.clip(value, low, high)) * jax.nn.log_softmax(out), axis=-1)

    return Value(centres.shape[0], read, loss)


def make(kind: str, bounds: tuple[float, float], bins: int) -> Value:
    """Build the one of a name, of values within bounds."""
    return regressed() if kind == "mse" else {"hl_gauss": hl_gauss, "two_hot": two_hot}[kind](*bounds, bins)
