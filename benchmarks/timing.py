"""What benchmarks share: seconds of a call, and this machine's matrix-product peak."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def seconds(call: Callable[[], Any]) -> float:
    """Time of one call."""
    begun = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begun


def best_seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest of several calls, after one to warm up."""
    call_seconds = [seconds(call) for _ in range(1 + repeats)]
    return min(call_seconds[1:])


def matmul_gflops(size: int = 2048) -> float:
    """Peak of a float32 matrix product."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / best_seconds(lambda: product(a, a), 10) / 1e9
