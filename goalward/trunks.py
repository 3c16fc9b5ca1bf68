"""The very deep residual trunk of arXiv 2503.14858, §3.2, and the parts that other kinds of trunks share.

All trunks map one vector to one vector; callers `jax.vmap` them over a batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.errors import UserError

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


class Architecture(NamedTuple):
    """Shape of a trunk, and how it is trained.

    `depth` counts the Dense layers inside blocks, as the paper does. Where it is less than one block it counts,
    in an mlp trunk, all but the head: they are a plain stack, without a skip.
    """

    trunk: str = "mlp"  # one of `networks.TRUNKS`
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
    optimiser: str = "adam"
    lr_by_depth: str = "one"


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


Step = Callable[[Array, Any], Array]  # the stream behind a block, of what it was before and the block's weights


def through(step: Step, x: Array, blocks: Any, arch: Architecture) -> Array:
    """The stream x behind all blocks, of stacked weights (N, …); the backward pass keeps x and all `KEPT`."""
    keep = () if arch.remat else (KEPT,)
    policy = jax.checkpoint_policies.save_only_these_names(*keep)
    block = jax.checkpoint(lambda x, weights: (step(x, weights), None), policy=policy, prevent_cse=False)
    return jax.lax.scan(block, x, blocks, unroll=arch.unroll)[0]


def step_norms(step: Step, x: Array, blocks: Any) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """‖x_{n+1} − x_n‖ of each block, and ‖x_n‖."""

    def block(x: Array, weights: Any) -> tuple[Array, tuple[Array, Array]]:
        y = step(x, weights)
        return y, (jnp.linalg.norm(y - x), jnp.linalg.norm(x))

    return jax.lax.scan(block, x, blocks)[1]


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

        def step(x: Array, layers: Layer) -> Array:
            return self._add(x, self._branch(x, layers))

        return through(step, self.stem(x), self.blocks, self.arch)

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
