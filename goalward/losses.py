"""Energies between representations, and the contrastive objectives built on them (arXiv 2503.14858, §3.1)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from goalward import quasimetrics
from goalward.types import Metrics

# Added under the square root of a distance: its gradient stays finite, and is 0, where φ = ψ.
DISTANCE_EPSILON = 1e-6

# Added to the mean size of a critic's word, which may be 0.
SCALE_EPSILON = 1e-6

PairedFn = Callable[[Float[Array, "B R"], Float[Array, "B R"]], Float[Array, " B"]]
PairwiseFn = Callable[[Float[Array, "B R"], Float[Array, "C R"]], Float[Array, "B C"]]
# Weights (B,) of the samples, or None where all count alike.
ObjectiveFn = Callable[[Float[Array, "B B"], Float[Array, " B"] | None], Float[Array, ""]]


class Energy(NamedTuple):
    """f(φ, ψ), of row i with row i (`paired`) and of every row with every row (`pairwise`)."""

    paired: PairedFn
    pairwise: PairwiseFn


def _paired_sq_distance(phi: Float[Array, "B R"], psi: Float[Array, "B R"]) -> Float[Array, " B"]:
    return jnp.sum((phi - psi) ** 2, axis=-1)


def _pairwise_sq_distance(phi: Float[Array, "B R"], psi: Float[Array, "C R"]) -> Float[Array, "B C"]:
    """‖φ‖² + ‖ψ‖² − 2 φᵀψ: a matrix product, without the (B, C, R) tensor of differences.

    Distances do not change when both are moved by one vector; moving the mean of ψ to 0 first
    keeps the norms, and with them the rounding error near 0, small.
    """
    centre = jax.lax.stop_gradient(jnp.mean(psi, axis=0, keepdims=True))
    phi, psi = phi - centre, psi - centre
    norms = jnp.sum(phi**2, axis=-1)[:, None] + jnp.sum(psi**2, axis=-1)[None, :]
    # Full precision on accelerators too: the difference of large numbers is taken.
    return jnp.maximum(norms - 2 * jnp.matmul(phi, psi.T, precision="highest"), 0.0)


def _distance(sq_distance: Array) -> Array:
    return jnp.sqrt(sq_distance + DISTANCE_EPSILON)


def _unit(x: Float[Array, "B R"]) -> Float[Array, "B R"]:
    return x / _distance(jnp.sum(x**2, axis=-1, keepdims=True))


def _halves(x: Float[Array, "B R"]) -> tuple[Float[Array, "B R/2"], Float[Array, "B R/2"]]:
    first, second = jnp.split(x, 2, axis=-1)
    return first, second


def _paired_mrn(phi: Float[Array, "B R"], psi: Float[Array, "B R"]) -> Float[Array, " B"]:
    """‖x₁ − y₁‖ + max_k relu(x₂ − y₂)_k of the halves of x = φ and y = ψ (arXiv 2208.08133)."""
    (near, far), (near_goal, far_goal) = _halves(phi), _halves(psi)
    return _distance(_paired_sq_distance(near, near_goal)) + quasimetrics.paired(
        quasimetrics.residual, far, far_goal
    )


def _pairwise_mrn(phi: Float[Array, "B R"], psi: Float[Array, "C R"]) -> Float[Array, "B C"]:
    (near, far), (near_goal, far_goal) = _halves(phi), _halves(psi)
    return _distance(_pairwise_sq_distance(near, near_goal)) + quasimetrics.pairwise(
        quasimetrics.residual, far, far_goal
    )


ENERGIES: dict[str, Energy] = {
    "l2": Energy(
        lambda phi, psi: -_distance(_paired_sq_distance(phi, psi)),
        lambda phi, psi: -_distance(_pairwise_sq_distance(phi, psi)),
    ),
    "sq_l2": Energy(
        lambda phi, psi: -_paired_sq_distance(phi, psi),
        lambda phi, psi: -_pairwise_sq_distance(phi, psi),
    ),
    "dot": Energy(
        lambda phi, psi: jnp.sum(phi * psi, axis=-1),
        lambda phi, psi: phi @ psi.T,
    ),
    "scaled_dot": Energy(
        lambda phi, psi: jnp.sum(phi * psi, axis=-1) / math.sqrt(phi.shape[-1]),
        lambda phi, psi: phi @ psi.T / math.sqrt(phi.shape[-1]),
    ),
    "cosine": Energy(
        lambda phi, psi: jnp.sum(_unit(phi) * _unit(psi), axis=-1),
        lambda phi, psi: _unit(phi) @ _unit(psi).T,
    ),
    "mrn": Energy(
        lambda phi, psi: -_paired_mrn(phi, psi),
        lambda phi, psi: -_pairwise_mrn(phi, psi),
    ),
    "iqe": Energy(
        lambda phi, psi: -quasimetrics.paired(quasimetrics.intervals, phi, psi),
        lambda phi, psi: -quasimetrics.pairwise(quasimetrics.intervals, phi, psi),
    ),
}


def weighted_mean(terms: Float[Array, " B"], weights: Float[Array, " B"] | None) -> Float[Array, ""]:
    """(1/B) Σ_i w_i x_i."""
    return jnp.mean(terms if weights is None else weights * terms)


def info_nce(logits: Float[Array, "B B"], weights: Float[Array, " B"] | None = None) -> Float[Array, ""]:
    """Forward InfoNCE, −(1/B) Σ_i w_i [ f_ii − logsumexp_j f_ij ]: which goal follows this state and action?"""
    return weighted_mean(jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits), weights)


def backward_info_nce(
    logits: Float[Array, "B B"], weights: Float[Array, " B"] | None = None
) -> Float[Array, ""]:
    """Backward InfoNCE, −(1/B) Σ_j w_j [ f_jj − logsumexp_i f_ij ]: which state and action lead to a goal?"""
    return info_nce(logits.T, weights)


def symmetric_info_nce(
    logits: Float[Array, "B B"], weights: Float[Array, " B"] | None = None
) -> Float[Array, ""]:
    """The mean of forward and backward InfoNCE."""
    return 0.5 * (info_nce(logits, weights) + backward_info_nce(logits, weights))


def binary_nce(logits: Float[Array, "B B"], weights: Float[Array, " B"] | None = None) -> Float[Array, ""]:
    """Binary NCE, −(1/B) Σ_i w_i [ log σ(f_ii) + 1/(B−1) Σ_{j≠i} log σ(−f_ij) ]: did this goal follow?"""
    positives = jnp.diagonal(logits)
    of_rows = jnp.sum(jax.nn.softplus(logits), axis=1) - jax.nn.softplus(positives)
    return weighted_mean(jax.nn.softplus(-positives) + of_rows / (logits.shape[0] - 1), weights)


OBJECTIVES: dict[str, ObjectiveFn] = {
    "info_nce": info_nce,
    "backward_info_nce": backward_info_nce,
    "symmetric_info_nce": symmetric_info_nce,
    "binary_nce": binary_nce,
}


def logsumexp_penalty(logits: Float[Array, "B B"]) -> Float[Array, ""]:
    """mean_i (logsumexp_j f_ij)², which holds the free additive constant of InfoNCE in place."""
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) ** 2)


def masked_mean(values: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Mean where `mask` holds, 0 where it holds nowhere."""
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1)


def contrastive_metrics(logits: Float[Array, "B B"]) -> Metrics:
    """Accuracy of picking the right goal, mean positive and negative logit, mean logsumexp; scalars."""
    size = logits.shape[0]
    positive = jnp.mean(jnp.diagonal(logits))
    return {
        "accuracy": jnp.mean(jnp.argmax(logits, axis=1) == jnp.arange(size), dtype=jnp.float32),
        "positive_logit": positive,
        "negative_logit": (jnp.sum(logits) - size * positive) / (size * (size - 1)),
        "logsumexp": jnp.mean(jax.nn.logsumexp(logits, axis=1)),
    }


def actor_loss(
    log_prob: Float[Array, " B"], energy: Float[Array, " B"], alpha: Float[Array, ""]
) -> Float[Array, ""]:
    """E[ α log π(a | s, g) − f(s, a, g) ]."""
    return jnp.mean(alpha * log_prob - energy)


def scaled(worth: Float[Array, " B"]) -> Float[Array, " B"]:
    """Q / mean |Q|, where the mean has no gradient: a critic's word free of its scale (arXiv 2106.06860)."""
    return worth / (jax.lax.stop_gradient(jnp.mean(jnp.abs(worth))) + SCALE_EPSILON)


def temperature_loss(log_alpha: Float[Array, ""], entropy: Float[Array, ""], target: float) -> Float[Array, ""]:
    """α (entropy − target): α falls while the policy is more random than the target, else rises."""
    return jnp.exp(log_alpha) * jax.lax.stop_gradient(entropy - target)
