"""A trunk whose stream and weights stay on the unit sphere (SimbaV2, arXiv 2502.15280).

Lengths cannot grow: neither that of the stream with depth, nor those of weights with training, which steps of
one size would then turn less and less. There is no LayerNorm, and no bias but the head's.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.trunks import (
    ACTIVATIONS,
    KEPT,
    NORM_EPSILON,
    Architecture,
    Dense,
    check_depth,
    step_norms,
    through,
)

# Stands behind every input before it is brought to length 1, so that an input's own length is not lost.
CONSTANT = 3.0


def unit(x: Float[Array, " w"]) -> Float[Array, " w"]:
    """Give x / √(‖x‖² + ε)."""
    return x * jax.lax.rsqrt(jnp.sum(x**2) + NORM_EPSILON)


class UnitDense(eqx.Module):
    """x W. Columns of W, the incoming weights of one unit each, have length 1, and are orthogonal at the start.

    Factors of the product are rounded to `precision`, as in `Dense`.
    """

    weight: Float[Array, "*stack i o"]
    precision: str = eqx.field(static=True)

    def __init__(self, in_dim: int, out_dim: int, key: PRNGKeyArray, precision: str):
        # Where there are more units than inputs, rows are orthogonal, and shorter columns.
        self.weight = _unit_columns(jax.nn.initializers.orthogonal()(key, (in_dim, out_dim)))
        self.precision = precision

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        product = x.astype(self.precision) @ self.weight.astype(self.precision)
        return checkpoint_name(product.astype(x.dtype), KEPT)


def _unit_columns(weight: Float[Array, "*stack i o"]) -> Float[Array, "*stack i o"]:
    return weight * jax.lax.rsqrt(jnp.sum(weight**2, axis=-2, keepdims=True))


def projected(tree: Any) -> Any:
    """The same tree, with columns of every `UnitDense` at length 1 again; nothing is done to other leaves."""

    def project(node: Any) -> Any:
        if not isinstance(node, UnitDense):
            return node
        return eqx.tree_at(lambda dense: dense.weight, node, _unit_columns(node.weight))

    return jax.tree.map(project, tree, is_leaf=lambda node: isinstance(node, UnitDense))


class Gain(eqx.Module):
    """x ⊙ g, where g starts at `init`. What is learned is g · scale / init: of `scale`, how fast g moves."""

    value: Float[Array, "*stack w"]
    factor: float = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], init: float, scale: float):
        self.value, self.factor = jnp.full(shape, scale), init / scale

    def __call__(self, x: Float[Array, " w"]) -> Float[Array, " w"]:
        return x * (self.factor * self.value)


class SphereBlock(eqx.Module):
    """h ← unit(h + α ⊙ (h̃ − h)),  h̃ = unit(W_S y_{S−1}),  y_i = unit(σ(g_i ⊙ W_i y_{i−1})),  y₀ = h.

    With S = 2 that is SimbaV2's block: there is no bias, so the length of y is none of the direction of W₂ y.
    g starts at √width, so that what σ is given is of size 1. (σ is ReLU there, to which that does not matter.)
    """

    dense: UnitDense  # (S, w, w)
    gain: Gain  # (S − 1, w)
    pull: Gain  # α (w,)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, arch: Architecture, key: PRNGKeyArray):
        width, layers = arch.width, arch.block_size
        keys = jax.random.split(key, layers)
        self.dense = jax.vmap(lambda key: UnitDense(width, width, key, arch.precision))(keys)
        self.gain = Gain((layers - 1, width), width**0.5, (2 / width) ** 0.5)
        self.pull = Gain((width,), 1 / (arch.depth // layers + 1), width**-0.5)
        self.activation = ACTIVATIONS[arch.activation]

    def __call__(self, h: Float[Array, " w"]) -> Float[Array, " w"]:
        y, last = h, self.dense.weight.shape[0] - 1
        for i in range(last):
            dense, gain = jax.tree.map(lambda leaf, i=i: leaf[i], (self.dense, self.gain))
            y = unit(self.activation(gain(dense(y))))
        target = unit(jax.tree.map(lambda leaf: leaf[last], self.dense)(y))
        return unit(h + self.pull(target - h))


class SphereTrunk(eqx.Module):
    """h₀ = unit(s ⊙ W unit([x, 3]));  h_{n+1} = block(h_n);  y = head(√width h_N).

    Depth counts the layers in blocks; less than one block is one block of so many layers.
    """

    stem: UnitDense
    stem_gain: Gain
    blocks: SphereBlock  # leaves (N, …)
    head: Dense
    arch: Architecture = eqx.field(static=True)

    def __init__(self, in_dim: int, out_dim: int, arch: Architecture, key: PRNGKeyArray):
        check_depth(arch.depth, arch.block_size)
        arch = arch._replace(block_size=min(arch.depth, arch.block_size))
        stem_key, blocks_key, head_key = jax.random.split(key, 3)
        self.stem = UnitDense(in_dim + 1, arch.width, stem_key, arch.precision)
        self.stem_gain = Gain((arch.width,), (2 / arch.width) ** 0.5, (2 / arch.width) ** 0.5)
        keys = jax.random.split(blocks_key, arch.depth // arch.block_size)
        self.blocks = jax.vmap(lambda key: SphereBlock(arch, key))(keys)
        self.head = Dense(arch.width, out_dim, head_key)
        self.arch = arch

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return self.head(self.features(x))

    def features(self, x: Float[Array, " i"]) -> Float[Array, " w"]:
        """What the head is given, √width h_N."""
        return self.arch.width**0.5 * through(_step, self._start(x), self.blocks, self.arch)

    def norms(self, x: Float[Array, " i"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """‖h_{n+1} − h_n‖ of each block, and ‖h_n‖, which is 1."""
        return step_norms(_step, self._start(x), self.blocks)

    def _start(self, x: Float[Array, " i"]) -> Float[Array, " w"]:
        return unit(self.stem_gain(self.stem(unit(jnp.append(x, jnp.float32(CONSTANT))))))


def _step(h: Float[Array, " w"], block: SphereBlock) -> Float[Array, " w"]:
    return block(h)
