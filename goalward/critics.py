"""Critics beside CRL's: of when a goal is reached (arXiv 2605.31273), of choices, of returns."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.networks import AnyTrunk, make_trunk
from goalward.trunks import Architecture, Dense, LayerNorm

FILM_SCALE = 0.1
TIME_DEVIATION = 0.02


class Prediction(NamedTuple):
    """Logits; what they mean is told by `survival`."""

    now: Float[Array, " B"]
    hazards: Float[Array, "B K"]
    occupancy: Float[Array, "B K_o"]


def half_depth(arch: Architecture) -> Architecture:
    """Half of the depth, rounded down to whole blocks where it is more than one, and at least 1."""
    half = max(arch.depth // 2, 1)
    return arch._replace(depth=half if half < arch.block_size else half - half % arch.block_size)


class SurvivalCritic(eqx.Module):
    """φ(s, a) and ψ(g), and a head on both: logits of now, of K hazards, and of K_o bins of nearness.

    z = (1 + 0.1 a(ψ)) ⊙ φ + 0.1 b(ψ), with (a, b) one Dense (FiLM); the head's input is [z, ψ, z − ψ, z ⊙ ψ].
    Hazards are B x + c, where the r numbers x are of the head's output: bins share what is learned.
    """

    phi: AnyTrunk
    psi: AnyTrunk
    phi_norm: LayerNorm | None  # of the representation
    psi_norm: LayerNorm | None
    film: Dense
    head: AnyTrunk
    time_basis: Float[Array, "K r"]
    time_bias: Float[Array, " K"]

    def __init__(self, obs_dim: int, action_dim: int, goal_dim: int, repr_dim: int, encoder: Architecture,
                 head: Architecture, bins: int, key: PRNGKeyArray, *, rank: int = 64, occupancy_bins: int = 0,
                 norm_repr: bool = False):  # fmt: skip
        """A `head` less deep than one block is its stem alone. Raises `UserError` for an invalid depth."""
        phi_key, psi_key, film_key, head_key, basis_key = jax.random.split(key, 5)
        self.phi = make_trunk(obs_dim + action_dim, repr_dim, encoder, phi_key)
        self.psi = make_trunk(goal_dim, repr_dim, encoder, psi_key)
        self.phi_norm = LayerNorm(repr_dim) if norm_repr else None
        self.psi_norm = LayerNorm(repr_dim) if norm_repr else None
        self.film = Dense(repr_dim, 2 * repr_dim, film_key)
        if 1 <= head.depth < head.block_size:
            head = head._replace(depth=1)
        self.head = make_trunk(4 * repr_dim, 1 + rank + occupancy_bins, head, head_key)
        self.time_basis = TIME_DEVIATION * jax.random.normal(basis_key, (bins, rank))
        self.time_bias = jnp.zeros(bins)

    def encode_sa(self, obs: Float[Array, "B D"], action: Float[Array, "B A"]) -> Float[Array, "B R"]:
        """φ(s, a) of a batch."""
        phi = jax.vmap(self.phi)(jnp.concatenate([obs, action], axis=-1))
        return phi if self.phi_norm is None else jax.vmap(self.phi_norm)(phi)

    def encode_g(self, goal: Float[Array, "B G"]) -> Float[Array, "B R"]:
        """ψ(g) of a batch."""
        psi = jax.vmap(self.psi)(goal)
        return psi if self.psi_norm is None else jax.vmap(self.psi_norm)(psi)

    def head_inputs(self, phi: Float[Array, "B R"], psi: Float[Array, "B R"]) -> Float[Array, "B 4*R"]:
        """[z, ψ, z − ψ, z ⊙ ψ] of row with row."""
        gain, offset = jnp.split(FILM_SCALE * jax.vmap(self.film)(psi), 2, axis=-1)
        z = (1 + gain) * phi + offset
        return jnp.concatenate([z, psi, z - psi, z * psi], axis=-1)

    def predict(self, phi: Float[Array, "B R"], psi: Float[Array, "B R"]) -> Prediction:
        """All logits, of row with row: when is the goal reached, and how near is one to it later?"""
        out = jax.vmap(self.head)(self.head_inputs(phi, psi))
        rank = self.time_basis.shape[1]
        now, coefficients, occupancy = jnp.split(out, [1, 1 + rank], axis=-1)
        return Prediction(now[:, 0], coefficients @ self.time_basis.T + self.time_bias[None], occupancy)


class ValueCritic(eqx.Module):
    """Q(s, a, g) by one trunk on all three, which knows no representation of the goal alone."""

    q: AnyTrunk

    def __init__(self, obs_dim: int, action_dim: int, goal_dim: int, outputs: int, arch: Architecture,
                 key: PRNGKeyArray):  # fmt: skip
        self.q = make_trunk(obs_dim + action_dim + goal_dim, outputs, arch, key)

    def __call__(
        self, obs: Float[Array, "B D"], action: Float[Array, "B A"], goal: Float[Array, "B G"]
    ) -> Float[Array, "B K"]:
        """Outputs for a batch; `values` says what they mean."""
        return jax.vmap(self.q)(jnp.concatenate([obs, action, goal], axis=-1))

    def features(
        self, obs: Float[Array, "B D"], action: Float[Array, "B A"], goal: Float[Array, "B G"]
    ) -> Float[Array, "B W"]:
        """What its head is given."""
        return jax.vmap(self.q.features)(jnp.concatenate([obs, action, goal], axis=-1))


class ChoiceCritic(eqx.Module):
    """φ(s, a) of all choices a at once, by a head each on one trunk, and ψ(g)."""

    phi: AnyTrunk
    psi: AnyTrunk
    choices: int = eqx.field(static=True)

    def __init__(self, obs_dim: int, choices: int, goal_dim: int, repr_dim: int, arch: Architecture,
                 key: PRNGKeyArray):  # fmt: skip
        phi_key, psi_key = jax.random.split(key)
        self.phi = make_trunk(obs_dim, choices * repr_dim, arch, phi_key)
        self.psi = make_trunk(goal_dim, repr_dim, arch, psi_key)
        self.choices = choices

    def encode_choices(self, obs: Float[Array, "B D"]) -> Float[Array, "B A R"]:
        """φ(s, a) of a batch, for all choices a."""
        return jax.vmap(self.phi)(obs).reshape(obs.shape[0], self.choices, -1)

    def encode_g(self, goal: Float[Array, "B G"]) -> Float[Array, "B R"]:
        """ψ(g) of a batch."""
        return jax.vmap(self.psi)(goal)


def taken(phi: Float[Array, "B A R"], action: Float[Array, "B A"]) -> Float[Array, "B R"]:
    """φ(s, a) of the choices that were taken, one-hot."""
    return jnp.sum(phi * action[..., None], axis=1)
