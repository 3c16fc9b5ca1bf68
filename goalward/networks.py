"""Very deep residual networks: one trunk for actor and both encoders (arXiv 2503.14858, §3.2).

All networks map one vector to one vector; callers `jax.vmap` them over a batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.errors import UserError
from goalward.types import Metrics

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "swish": jax.nn.swish,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
}

NORM_EPSILON = 1e-6
# All that a block keeps for its backward pass, besides its input. The rest is elementwise, or a slice of
# weights, and is computed again: it would be several times as much, and moving it costs more.
KEPT = "kept"
# What each of N blocks adds is multiplied by this. Branches share a direction (Swish is positive on average):
# their sum, the stream, grows with N, and with it the first outputs and every step of the head.
RESIDUAL_SCALES: dict[str, Callable[[int], float]] = {
    "one": lambda _: 1.0,
    "inverse_sqrt_blocks": lambda blocks: blocks**-0.5,
    "inverse_blocks": lambda blocks: 1 / blocks,
}
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


class Architecture(NamedTuple):
    """Shape of a trunk. `depth` counts the Dense layers inside blocks, as the paper does.

    Where it is less than one block it counts all but the head: they are a plain stack, without a skip.
    """

    depth: int = 4
    width: int = 256
    block_size: int = 4
    residual: bool = True
    residual_scale: str = "one"
    layer_norm: bool = True
    activation: str = "swish"
    stem_bias: bool = False
    remat: bool = False
    unroll: int = 1
    precision: str = "float32"


def check_depth(depth: int, block_size: int, name: str = "depth") -> None:
    """Raise `UserError`, with the nearest valid depths, unless `depth` is whole blocks or less than one."""
    if 1 <= depth < block_size or (depth >= 1 and block_size >= 1 and depth % block_size == 0):
        return
    if block_size < 1:
        raise UserError(f"block_size is {block_size}; it must be at least 1")
    below = depth // block_size * block_size
    nearest = [str(below), str(below + block_size)] if depth > 0 else ["1", str(block_size)]
    raise UserError(
        f"{name} is {depth}, which is neither a multiple of block_size {block_size} nor 1 to less than it; "
        f"use {name} {' or '.join(nearest)}, or another --block-size"
    )


class Dense(eqx.Module):
    """x W + b, with W uniform in ±1/√fan_in, and b zero or, with `random_bias`, drawn like W.

    Factors of the product are rounded to `precision`; its result, and all else, is float32.
    """

    weight: Float[Array, "*stack i o"]
    bias: Float[Array, "*stack o"]
    precision: str = eqx.field(static=True)

    def __init__(self, in_dim: int, out_dim: int, key: PRNGKeyArray, random_bias: bool = False,
                 precision: str = "float32"):  # fmt: skip
        bound = in_dim**-0.5
        self.weight = jax.random.uniform(key, (in_dim, out_dim), minval=-bound, maxval=bound)
        self.bias = jnp.zeros(out_dim)
        if random_bias:
            bias_key = jax.random.fold_in(key, 1)
            self.bias = jax.random.uniform(bias_key, (out_dim,), minval=-bound, maxval=bound)
        self.precision = precision

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        product = x.astype(self.precision) @ self.weight.astype(self.precision)
        return product.astype(x.dtype) + self.bias


class LayerNorm(eqx.Module):
    """(x − mean) / √(variance + ε) · scale + offset."""

    scale: Float[Array, "*stack w"]
    offset: Float[Array, "*stack w"]

    def __init__(self, width: int):
        self.scale, self.offset = jnp.ones(width), jnp.zeros(width)

    def __call__(self, x: Float[Array, " w"]) -> Float[Array, " w"]:
        centred = checkpoint_name(x - jnp.mean(x), KEPT)
        inverse_deviation = checkpoint_name(jax.lax.rsqrt(jnp.mean(centred**2) + NORM_EPSILON), KEPT)
        return centred * inverse_deviation * self.scale + self.offset


class Layer(eqx.Module):
    """Dense → LayerNorm → activation, the unit that depth counts."""

    dense: Dense
    norm: LayerNorm | None
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, in_dim: int, arch: Architecture, key: PRNGKeyArray, random_bias: bool = False):
        self.dense = Dense(in_dim, arch.width, key, random_bias, arch.precision)
        self.norm = LayerNorm(arch.width) if arch.layer_norm else None
        self.activation = ACTIVATIONS[arch.activation]

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " w"]:
        x = self.dense(x)
        return self.activation(checkpoint_name(x, KEPT) if self.norm is None else self.norm(x))


class Trunk(eqx.Module):
    """Stem, N residual blocks of S layers, head; the skip is added after a block's last activation.

    x₀ = stem(x);  x_{n+1} = x_n + c layer_S(…layer_1(x_n));  y = head(x_N);  c from `residual_scale`.
    """

    stem: Layer
    blocks: Layer  # leaves (N, S, …), scanned over N so that compile time does not grow with depth; N may be 0
    head: Dense
    arch: Architecture = eqx.field(static=True)

    def __init__(self, in_dim: int, out_dim: int, arch: Architecture, key: PRNGKeyArray):
        check_depth(arch.depth, arch.block_size)
        if arch.depth < arch.block_size:  # the stem and depth − 1 layers
            arch = arch._replace(depth=arch.depth - 1, block_size=1, residual=False)
        stem_key, blocks_key, head_key = jax.random.split(key, 3)
        keys = jax.random.split(blocks_key, (arch.depth // arch.block_size, arch.block_size))
        self.stem = Layer(in_dim, arch, stem_key, arch.stem_bias)
        self.blocks = jax.vmap(jax.vmap(lambda k: Layer(arch.width, arch, k)))(keys)
        self.head = Dense(arch.width, out_dim, head_key)
        self.arch = arch

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return self.head(self.features(x))

    def features(self, x: Float[Array, " i"]) -> Float[Array, " w"]:
        """What the head is given, x_N."""

        def block(x: Array, layers: Layer) -> tuple[Array, None]:
            return self._add(x, self._branch(x, layers)), None

        keep = () if self.arch.remat else (KEPT,)
        policy = jax.checkpoint_policies.save_only_these_names(*keep)
        scanned = jax.checkpoint(block, policy=policy, prevent_cse=False)
        return jax.lax.scan(scanned, self.stem(x), self.blocks, unroll=self.arch.unroll)[0]

    def _branch(self, x: Float[Array, " w"], layers: Layer) -> Float[Array, " w"]:
        """layer_S(…layer_1(x)) of one block, whose layers are stacked."""
        for i in range(self.arch.block_size):
            x = jax.tree.map(lambda leaf, i=i: leaf[i], layers)(x)
        return x

    def _scale(self) -> float:
        return RESIDUAL_SCALES[self.arch.residual_scale](self.arch.depth // self.arch.block_size)

    def _add(self, x: Float[Array, " w"], y: Float[Array, " w"]) -> Float[Array, " w"]:
        """What follows a block with the input x and the branch y."""
        return x + self._scale() * y if self.arch.residual else y

    def norms(self, x: Float[Array, " i"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """‖branch‖ of each block, what it adds; and ‖x_n‖, what it adds it to."""

        def block(x: Array, layers: Layer) -> tuple[Array, tuple[Array, Array]]:
            y = self._branch(x, layers)
            return self._add(x, y), (jnp.linalg.norm(self._scale() * y), jnp.linalg.norm(x))

        return jax.lax.scan(block, self.stem(x), self.blocks)[1]


def block_norms(trunk: Trunk, gradient: Trunk, inputs: Float[Array, "B i"], name: str) -> Metrics:
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

    phi: Trunk
    psi: Trunk

    def __init__(self, obs_dim: int, action_dim: int, goal_dim: int, repr_dim: int,
                 arch: Architecture, key: PRNGKeyArray):  # fmt: skip
        phi_key, psi_key = jax.random.split(key)
        self.phi = Trunk(obs_dim + action_dim, repr_dim, arch, phi_key)
        self.psi = Trunk(goal_dim, repr_dim, arch, psi_key)

    def encode_sa(self, obs: Float[Array, "B D"], action: Float[Array, "B A"]) -> Float[Array, "B R"]:
        """φ(s, a) of a batch."""
        return jax.vmap(self.phi)(jnp.concatenate([obs, action], axis=-1))

    def encode_g(self, goal: Float[Array, "B G"]) -> Float[Array, "B R"]:
        """ψ(g) of a batch."""
        return jax.vmap(self.psi)(goal)


class Actor(eqx.Module):
    """A tanh-Gaussian policy π(a | s, g)."""

    trunk: Trunk

    def __init__(self, obs_dim: int, goal_dim: int, action_dim: int, arch: Architecture, key: PRNGKeyArray):
        self.trunk = Trunk(obs_dim + goal_dim, 2 * action_dim, arch, key)

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
