"""A trunk that is a transformer: each number of its input is a token, and one more token is read out.

Its cost is that of the tokens: as many times an mlp trunk's as the input has numbers, plus one.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.errors import UserError
from goalward.trunks import (
    ACTIVATIONS,
    KEPT,
    RESIDUAL_SCALES,
    Architecture,
    Dense,
    LayerNorm,
    check_depth,
    step_norms,
    through,
)

BLOCK = 4  # Dense layers: queries, keys and values; what attention gives; and the two behind it
HEAD_WIDTH = 64
# Arrays of the stream's size that the backward pass keeps of a block, in place of its input: of both norms,
# q, k, v, and up.
KEPT_ARRAYS = 6


class AttentionBlock(eqx.Module):
    """x ← x + c out(attention(qkv(norm₁ x)));  x ← x + c down(σ(up(norm₂ x))), for tokens x (T, w).

    Heads have width 64 where that divides the trunk's; else there is one.
    """

    mix_norm: LayerNorm
    qkv: Dense
    out: Dense
    norm: LayerNorm
    up: Dense
    down: Dense
    scale: float = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, arch: Architecture, key: PRNGKeyArray):
        width, keys = arch.width, jax.random.split(key, BLOCK)
        self.mix_norm, self.norm = LayerNorm(width), LayerNorm(width)
        self.qkv = Dense(width, 3 * width, keys[0], precision=arch.precision)
        self.out = Dense(width, width, keys[1], precision=arch.precision)
        self.up = Dense(width, width, keys[2], precision=arch.precision)
        self.down = Dense(width, width, keys[3], precision=arch.precision)
        self.scale = RESIDUAL_SCALES[arch.residual_scale](arch.depth // BLOCK)
        self.activation = ACTIVATIONS[arch.activation]

    def __call__(self, x: Float[Array, "T w"]) -> Float[Array, "T w"]:
        query, key, value = jnp.split(_kept(self.qkv, jax.vmap(self.mix_norm)(x)), 3, axis=-1)
        x = x + self.scale * jax.vmap(self.out)(self._mix(query, key, value))
        return x + self.scale * jax.vmap(self.down)(self.activation(_kept(self.up, jax.vmap(self.norm)(x))))

    def _mix(
        self, query: Float[Array, "T w"], key: Float[Array, "T w"], value: Float[Array, "T w"]
    ) -> Float[Array, "T w"]:
        """softmax(q kᵀ / √d) v of each head of width d."""
        tokens, width = query.shape
        q, k, v = (x.reshape(tokens, heads(width), -1) for x in (query, key, value))
        weights = jax.nn.softmax(self._product("thd,shd->hts", q, k) * q.shape[-1] ** -0.5, axis=-1)
        return self._product("hts,shd->thd", weights, v).reshape(tokens, width)

    def _product(self, axes: str, a: Array, b: Array) -> Array:
        precision = self.qkv.precision
        return jnp.einsum(axes, a.astype(precision), b.astype(precision)).astype(a.dtype)


def heads(width: int) -> int:
    """Give the number of heads of a trunk of this width."""
    return width // HEAD_WIDTH if width % HEAD_WIDTH == 0 else 1


def _kept(dense: Dense, x: Float[Array, "T i"]) -> Float[Array, "T o"]:
    return checkpoint_name(jax.vmap(dense)(x), KEPT)


class AttentionTrunk(eqx.Module):
    """Tokens x_i e_i + b_i of the input's numbers, and a learnt one; blocks; y = head(norm(the learnt token)).

    e_i, b_i and the learnt token are uniform in ±1 at the start. b_i tells which number of the input it is.
    """

    embedding: Float[Array, "i w"]
    place: Float[Array, "i w"]
    readout: Float[Array, " w"]
    blocks: AttentionBlock  # leaves (N, …)
    norm: LayerNorm
    head: Dense
    arch: Architecture = eqx.field(static=True)

    def __init__(self, in_dim: int, out_dim: int, arch: Architecture, key: PRNGKeyArray):
        check_depth(arch.depth, arch.block_size)
        if arch.block_size != BLOCK or arch.depth < BLOCK:
            raise UserError(
                f"depth is {arch.depth} with blocks of {arch.block_size}; an attention trunk has whole blocks "
                f"of {BLOCK} layers, one at least"
            )
        token_key, blocks_key, head_key = jax.random.split(key, 3)
        tokens = jax.random.uniform(token_key, (2 * in_dim + 1, arch.width), minval=-1.0)
        self.embedding, self.place, self.readout = tokens[:in_dim], tokens[in_dim:-1], tokens[-1]
        keys = jax.random.split(blocks_key, arch.depth // BLOCK)
        self.blocks = jax.vmap(lambda key: AttentionBlock(arch, key))(keys)
        self.norm = LayerNorm(arch.width)
        self.head = Dense(arch.width, out_dim, head_key)
        self.arch = arch

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return self.head(self.features(x))

    def features(self, x: Float[Array, " i"]) -> Float[Array, " w"]:
        """What the head is given, norm(the learnt token)."""
        return self.norm(through(_step, self._tokens(x), self.blocks, self.arch)[-1])

    def norms(self, x: Float[Array, " i"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """‖x_{n+1} − x_n‖ of each block, and ‖x_n‖, over all tokens together."""
        return step_norms(_step, self._tokens(x), self.blocks)

    def _tokens(self, x: Float[Array, " i"]) -> Float[Array, "i+1 w"]:
        return jnp.concatenate([x[:, None] * self.embedding + self.place, self.readout[None]])


def _step(x: Float[Array, "T w"], block: AttentionBlock) -> Float[Array, "T w"]:
    return block(x)
