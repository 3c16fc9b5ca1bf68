"""Time of one update against this machine's matrix-product peak: `python -m benchmarks.update [--json]`.

Prints, by depth, milliseconds an update (drawing the batch included), the share of the time that the
arithmetic alone would take at the peak, and what drawing the batch costs.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from goalward import replay, train
from goalward.config import NetworkConfig, TrainConfig

UPDATES = 20


@dataclass(frozen=True)
class Args:
    """Sizes to measure."""

    depths: tuple[int, ...] = (4, 16, 64)
    width: int = 256
    batch_size: int = 512
    json: bool = False


def best_seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest of several calls, after one to warm up."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return min(times)


def matmul_gflops(size: int = 2048) -> float:
    """Peak of a float32 matrix product."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    return 2 * size**3 / best_seconds(partial(jax.jit(jnp.matmul), a, a), 10) / 1e9


def flops(width: int, depth: int, batch: int, repr_dim: int) -> float:
    """Matrix-product arithmetic of one update; stems and heads are left out.

    φ and ψ forward and backward, the actor forward and backward, and φ once more forward and backward
    to its input: 3 + 3 + 3 + 2 passes; and the energies, forward and backward.
    """
    return 11 * 2 * batch * width**2 * depth + 3 * 2 * batch**2 * repr_dim


def measure(args: Args, depth: int, peak: float) -> dict[str, float]:
    """Figures of one depth."""
    config = TrainConfig(
        "point_u_maze", num_envs=64, batch_size=args.batch_size, updates_per_iteration=UPDATES,
        network=NetworkConfig(depth=depth, width=args.width),
    )  # fmt: skip
    experiment = train.build(config)
    run = jax.jit(lambda: train.init(experiment))()
    gather, key = jax.jit(partial(train.gather, experiment)), jax.random.key(0)
    for _ in range(10):
        run, key = gather(run)
    learn = jax.jit(partial(train.learn, experiment))
    begun = time.perf_counter()
    learn.lower(run.agent, run.replay, key).compile()
    compiled = time.perf_counter() - begun

    def draw(key: jax.Array) -> Any:
        spec = experiment.env.spec
        return replay.sample(run.replay, spec.achieved, experiment.agent.relabel, args.batch_size, key)

    draws = jax.jit(lambda: jax.lax.map(draw, jax.random.split(key, UPDATES)))
    seconds = best_seconds(partial(learn, run.agent, run.replay, key)) / UPDATES
    gflops = flops(args.width, depth, args.batch_size, config.crl.repr_dim) / seconds / 1e9
    return {
        "ms": 1e3 * seconds,
        "compile_s": compiled,
        "gflops": gflops,
        "of_peak": gflops / peak,
        "sampling_share": best_seconds(draws) / UPDATES / seconds,
    }


def main(args: Args) -> None:
    """Measure and print."""
    peak = matmul_gflops()
    depths = {str(depth): measure(args, depth, peak) for depth in args.depths}
    if args.json:
        print(json.dumps({"matmul_gflops": peak, "depths": depths}))
        return
    table = Table(title=f"one update, width {args.width}, batch {args.batch_size}; peak {peak:.0f} GFLOP/s")
    for name in ("depth", "ms", "compile s", "GFLOP/s", "of peak", "drawing the batch"):
        table.add_column(name, justify="right")
    for depth, row in depths.items():
        table.add_row(
            depth, f"{row['ms']:.1f}", f"{row['compile_s']:.1f}", f"{row['gflops']:.0f}",
            f"{row['of_peak']:.2f}", f"{row['sampling_share']:.1%}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
