"""Random keys, all of one kind, whatever kind JAX is told to make by default."""

import jax
from jaxtyping import Array, Key, PRNGKeyArray

KIND = "threefry2x32"


def key(seed: int) -> PRNGKeyArray:
    """The key of a seed."""
    return jax.random.key(seed, impl=KIND)


def wrap(data: Array) -> Key[Array, "..."]:
    """The key, or keys, of what `jax.random.key_data` gave."""
    return jax.random.wrap_key_data(data, impl=KIND)
