"""Time to act without JAX, for one observation: `python -m benchmarks.runtime [--depths 4 16 64] [--json]`.

For each depth, in turns: what `goalward export` writes, run by NumPy (`goalward.runtime`) and by ONNX Runtime
on one thread; and the same policy compiled by JAX. Products of matrices alone are the limit: NumPy's, of the
same sizes.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime
import tyro
from rich.console import Console
from rich.table import Table

from goalward import agents, onnx_model, presets, prng, training
from goalward.config import from_dict, merge
from goalward.lowering import Constants, lower
from goalward.runtime import graph

WAYS = ("products", "NumPy", "ONNX Runtime", "JAX")


@dataclass(frozen=True)
class Args:
    """What to measure."""

    env: str = "ant_u_maze"
    depths: tuple[int, ...] = (4, 16, 64)
    width: int = 256
    calls: int = 200
    """Calls in a turn."""
    turns: int = 5
    """Turns of so many calls, of each way in turn."""
    json: bool = False


def measure(args: Args, depth: int) -> dict[str, float]:
    """Milliseconds a call by way, medians over turns."""
    network = {"network": {"depth": depth, "width": args.width}, "env": args.env}
    experiment = training.build(from_dict(merge(presets.load("ant", None), network), "benchmarks.runtime"))
    state, spec, constants = experiment.agent.init(prng.key(0)), experiment.env.spec, Constants()
    decide = partial(agents.decide, experiment.agent, state)
    sizes = {"obs": spec.obs_dim, "goal": spec.goal_dim}
    its = lower(decide, sizes, constants)
    obs, goal = (np.ones((1, size), np.float32) for size in sizes.values())
    ways = dict(zip(WAYS, [_products(its, constants), graph.compiled(its, constants.arrays),
                           _session(its, constants, sizes), jax.jit(decide)], strict=True))  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.turns):
        for name, function in ways.items():
            times[name].append(_milliseconds(partial(function, obs, goal), args.calls))
    return {name: float(np.median(each)) for name, each in times.items()}


def _products(its: graph.Graph, constants: Constants) -> Callable[..., Any]:
    """The products of matrices that a graph asks for, of vectors of ones, and nothing else."""
    matrices = [constants.arrays[node.inputs[1]] for node in its.nodes if node.op == "MatMul"]
    vectors = [np.ones((1, len(matrix)), np.float32) for matrix in matrices]
    return lambda *_: [vector @ matrix for vector, matrix in zip(vectors, matrices, strict=True)]


def _session(its: graph.Graph, constants: Constants, sizes: dict[str, int]) -> Callable[..., Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        onnx_model.write(path, its, constants.arrays, sizes, "action", "")
        session = onnxruntime.InferenceSession(path, options)
    return lambda obs, goal: session.run(None, {"obs": obs, "goal": goal})


def _milliseconds(call: Callable[[], Any], calls: int) -> float:
    jax.block_until_ready(call())
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / calls * 1e3


def main() -> None:
    """Measure, and print a table."""
    args = tyro.cli(Args, description=__doc__)
    found = {str(depth): measure(args, depth) for depth in args.depths}
    if args.json:
        print(json.dumps(found))
        return
    table = Table("depth", *(f"{way}, ms" for way in WAYS), title=f"{args.env}, width {args.width}")
    for depth, times in found.items():
        table.add_row(depth, *(f"{times[way]:.3f}" for way in WAYS))
    Console().print(table)


if __name__ == "__main__":
    main()
