"""Actor and critic on trunks of any kind (arXiv 2503.14858, §3.2).

All networks map one vector to one vector; callers `jax.vmap` them over a batch.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.attention import AttentionTrunk
from goalward.hyperspherical import SphereTrunk
from goalward.trunks import Architecture, Trunk
from goalward.types import Metrics

AnyTrunk = Trunk | SphereTrunk | AttentionTrunk
# What `Architecture.trunk` names: each has stacked `blocks`, a Dense `head`, `features` and `norms`.
TRUNKS: dict[str, type[AnyTrunk]] = {
    "mlp": Trunk,
    "hyperspherical": SphereTrunk,
    "attention": AttentionTrunk,
}

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


def make_trunk(in_dim: int, out_dim: int, arch: Architecture, key: PRNGKeyArray) -> AnyTrunk:
    """Build a trunk of the kind that `arch` names. Raises `UserError` for an invalid depth."""
    return TRUNKS[arch.trunk](in_dim, out_dim, arch, key)


def block_norms(trunk: AnyTrunk, gradient: AnyTrunk, inputs: Float[Array, "B i"], name: str) -> Metrics:
    """By block (N,): mean norms over a batch of what it adds and of what to, and its gradient's norm."""
    branch, stream = jax.tree.map(lambda norm: jnp.mean(norm, axis=0), jax.vmap(trunk.norms)(inputs))
    squares = [jnp.sum(g**2, axis=tuple(range(1, g.ndim))) for g in jax.tree.leaves(gradient.blocks)]
    return {
        f"{name}_branch_norm": branch,
        f"{name}_stream_norm": stream,
        f"{name}_block_grad_norm": jnp.sqrt(sum(squares[1:], squares[0])),
    }


class Critic(eqx.Module):
    """The two encoders φ(s, a) and ψ(g), whose distance is the energy f(s, a, g)."""

    phi: AnyTrunk
    psi: AnyTrunk

    def __init__(self, obs_dim: int, action_dim: int, goal_dim: int, repr_dim: int,
                 arch: Architecture, key: PRNGKeyArray):  # fmt: skip
        phi_key, psi_key = jax.random.split(key)
        self.phi = make_trunk(obs_dim + action_dim, repr_dim, arch, phi_key)
        self.psi = make_trunk(goal_dim, repr_dim, arch, psi_key)

    def encode_sa(self, obs: Float[Array, "B D"], action: Float[Array, "B A"]) -> Float[Array, "B R"]:
        """φ(s, a) of a batch."""
        return jax.vmap(self.phi)(jnp.concatenate([obs, action], axis=-1))

    def encode_g(self, goal: Float[Array, "B G"]) -> Float[Array, "B R"]:
        """ψ(g) of a batch."""
        return jax.vmap(self.psi)(goal)


class Actor(eqx.Module):
    """A tanh-Gaussian policy π(a | s, g)."""

    trunk: AnyTrunk

    def __init__(self, obs_dim: int, goal_dim: int, action_dim: int, arch: Architecture, key: PRNGKeyArray):
        self.trunk = make_trunk(obs_dim + goal_dim, 2 * action_dim, arch, key)

    def __call__(
        self, obs: Float[Array, "B D"], goal: Float[Array, "B G"]
    ) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
        """Mean and log σ before the tanh; log σ = −5 + 3.5 (tanh(·) + 1)."""
        out = jax.vmap(self.trunk)(jnp.concatenate([obs, goal], axis=-1))
        mean, raw = jnp.split(out, 2, axis=-1)
        half_range = (LOG_STD_MAX - LOG_STD_MIN) / 2
        return mean, LOG_STD_MIN + half_range * (jnp.tanh(raw) + 1)

    def features(self, obs: Float[Array, "B D"], goal: Float[Array, "B G"]) -> Float[Array, "B W"]:
        """What its head is given."""
        return jax.vmap(self.trunk.features)(jnp.concatenate([obs, goal], axis=-1))


# log da/du of a = tanh(u), by which the density of an action follows from that of u.
LOG_SLOPES: dict[str, Callable[[Array], Array]] = {
    # log(1 − tanh² u), in a form that cannot overflow.
    "exact": lambda u: 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u)),
    # log(1 − tanh² u + 1e-6), as in scaling-crl: its gradient vanishes beyond |u| ≈ 8. 1 − tanh² is written as
    # 4 σ(2u) σ(−2u), since XLA's tanh stops short of 1 by as much as matters here.
    "bounded": lambda u: jnp.log(4 * jax.nn.sigmoid(2 * u) * jax.nn.sigmoid(-2 * u) + 1e-6),
}


# How near to ±1 an action is taken to be, at most, where its density is asked for: u is finite there.
LEAST_SLACK = 1e-3


def log_density(
    mean: Float[Array, "*b A"], log_std: Float[Array, "*b A"], action: Float[Array, "*b A"]
) -> Float[Array, "*b"]:
    """Log π(a) of given actions a = tanh(u), u ~ N(mean, σ²)."""
    most = 1 - LEAST_SLACK
    u = jnp.arctanh(jnp.clip(action, -most, most))
    log_normal = -0.5 * (((u - mean) / jnp.exp(log_std)) ** 2 + jnp.log(2 * jnp.pi)) - log_std
    return jnp.sum(log_normal - LOG_SLOPES["exact"](u), axis=-1)


def sample_action(
    mean: Float[Array, "*b A"], log_std: Float[Array, "*b A"], key: PRNGKeyArray, log_slope: str = "exact"
) -> tuple[Float[Array, "*b A"], Float[Array, "*b"]]:
    """Draw a = tanh(u), u ~ N(mean, σ²), and log π(a), the density of the squashed action.

    log π(a) = Σ_d log N(u_d) − log da/du, the last term by one of `LOG_SLOPES`.
    """
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    log_normal = -0.5 * (noise**2 + jnp.log(2 * jnp.pi)) - log_std
    return jnp.tanh(u), jnp.sum(log_normal - LOG_SLOPES[log_slope](u), axis=-1)
