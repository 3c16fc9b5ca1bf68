"""Distances with a direction: from x to y it may be further than back, as on a one-way street.

Each is a function of one vector x (R,) and of many vectors y, the columns of (R, C), and gives (C,).
`paired` and `pairwise` apply it to batches.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

GROUP = 8  # numbers of a representation whose intervals are united
ROWS_AT_ONCE = 64  # on accelerators; on a CPU what one row takes stays in its cache

ToManyFn = Callable[[Float[Array, " R"], Float[Array, "R C"]], Float[Array, " C"]]


def paired(distance: ToManyFn, x: Float[Array, "B R"], y: Float[Array, "B R"]) -> Float[Array, " B"]:
    """Of row i to row i."""
    return jax.vmap(lambda x, y: distance(x, y[:, None])[0])(x, y)


def pairwise(distance: ToManyFn, x: Float[Array, "B R"], y: Float[Array, "C R"]) -> Float[Array, "B C"]:
    """Of every row to every row, some rows of x at a time: (B, C, R) numbers never exist, nor are kept."""
    columns = y.T
    row = jax.checkpoint(lambda x: distance(x, columns), prevent_cse=False)
    return jax.lax.map(row, x, batch_size=None if jax.default_backend() == "cpu" else ROWS_AT_ONCE)


def residual(x: Float[Array, " R"], y: Float[Array, "R C"]) -> Float[Array, " C"]:
    """max_k relu(x_k − y_k), the part with a direction of a metric residual network (arXiv 2208.08133)."""
    return jax.nn.relu(jnp.max(x[:, None] - y, axis=0))


def intervals(x: Float[Array, " R"], y: Float[Array, "R C"]) -> Float[Array, " C"]:
    """½ mean + ½ max over groups of `union` (interval quasimetric embedding, arXiv 2211.15120).

    The original learns how mean and max are mixed; here it is half and half.
    """
    groups = x.shape[0] // GROUP
    ascending = jax.lax.stop_gradient(jnp.argsort(x.reshape(groups, GROUP), axis=1))
    order = (ascending + GROUP * jnp.arange(groups)[:, None]).T
    lengths = union(x[order], y[order])
    return 0.5 * jnp.mean(lengths, axis=0) + 0.5 * jnp.max(lengths, axis=0)


@jax.custom_vjp
def union(starts: Float[Array, "8 n"], ends: Float[Array, "8 n C"]) -> Float[Array, "n C"]:
    """Length of ∪_k [x_k, max(x_k, y_k)], for starts x that ascend.

    With E_k = max_{j ≤ k} max(x_j, y_j), the end of what is covered so far, it is Σ_k min(E_k, x_{k+1}) − x_k,
    and x_{k+1} = ∞ behind the last.
    """
    length, covered = jnp.zeros(()), starts[0, :, None]
    for k in range(GROUP):
        start = starts[k, :, None]
        covered = jnp.maximum(covered, jnp.maximum(start, ends[k]))
        reach = covered if k == GROUP - 1 else jnp.minimum(covered, starts[k + 1, :, None])
        length = length + (reach - start)
    return length


def _union_kept(starts: Float[Array, "8 n"], ends: Float[Array, "8 n C"]) -> tuple[Array, tuple[Array, Array]]:
    return union(starts, ends), (starts, ends)


def _union_gradient(kept: tuple[Array, Array], gradient: Float[Array, "n C"]) -> tuple[Array, Array]:
    """The union is disjoint stretches: +1 for y_k where one ends, −1 for x_k where one starts, else 0.

    JAX's own derivative is right too, but XLA on CPUs computes the chain of maxima anew for every term of it;
    what a scan gives is computed once.
    """
    starts, ends = kept[0][:, :, None], kept[1]
    reached = jnp.maximum(starts, ends)
    nothing = jnp.full_like(reached[0], -jnp.inf)
    _, before = jax.lax.scan(lambda last, new: (jnp.maximum(last, new), last), nothing, reached)  # E_{k−1}
    following = jnp.concatenate([starts[1:], jnp.full_like(starts[:1], jnp.inf)])

    def back(behind: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        covered, start = at
        end = jnp.where(covered < start, covered, behind)
        return end, end

    # Where the stretch ends that covers x_k.
    _, end = jax.lax.scan(back, nothing, (jnp.maximum(before, reached), following), reverse=True)
    closes = (ends == end) & (ends > starts) & (ends > before)
    opens = (starts > before) & (starts < end)
    zero = jnp.zeros(())
    return -jnp.sum(jnp.where(opens, gradient, zero), axis=-1), jnp.where(closes, gradient, zero)


union.defvjp(_union_kept, _union_gradient)
