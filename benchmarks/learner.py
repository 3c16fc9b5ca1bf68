"""Time and memory of one update by depth, against this machine's matrix-product peak and the textbook.

python -m benchmarks.learner                      # a table; --json for figures
python -m benchmarks.learner --gate               # exit code 1 where a ratio fell behind baseline.json
python -m benchmarks.learner --save               # make these ratios the baseline

Every depth is measured in a process of its own, together with the peak, so that a ratio is of one moment.
`ms` is an update with its sampling, in the scan that training runs; GFLOP/s counts the matrix products that the
update needs, not those that rematerialisation repeats. The textbook's update is given its batches for nothing.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import textbook
from benchmarks.timing import matmul_gflops, seconds
from goalward import plan, train
from goalward.config import NetworkConfig, TrainConfig

BASELINE = Path(__file__).with_name("baseline.json")
RATIOS = ("of_peak", "vs_textbook")
# What a ratio may fall behind its baseline: runs of one commit differ by less.
NOISE = 0.15
# Unrolled, the textbook takes minutes to compile beyond.
TEXTBOOK_DEPTH = 64
REMAT_DEPTH = 512

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Args:
    """Sizes to measure, and what to do with the figures."""

    depths: tuple[int, ...] = (4, 16, 64, 256, 1024)
    """Depths of actor and critic; from 512 on with rematerialisation."""
    width: int = 256
    """Units of a layer."""
    batch_size: int = 512
    """Samples in an update."""
    json: bool = False
    """Print JSON."""
    gate: bool = False
    """Exit with 1 if a ratio is below its baseline beyond noise."""
    save: bool = False
    """Write the baseline."""
    here: bool = False
    """Measure in this process, not in one for each depth."""


def experiment(args: Args, depth: int, updates: int, remat: bool) -> train.Experiment:
    """The paper's learner on a point maze, with so many updates in an iteration."""
    network = NetworkConfig(depth=depth, width=args.width, remat=remat)
    return train.build(
        TrainConfig("point_u_maze", batch_size=args.batch_size, updates_per_iteration=updates, network=network)
    )


def measure(args: Args, depth: int) -> Figures:
    """Figures of one depth."""
    updates = max(2, min(20, 512 // depth))
    setup = experiment(args, depth, updates, depth >= REMAT_DEPTH)
    peak = matmul_gflops()
    run, key = jax.block_until_ready(_filled(setup))
    rival = _textbook(setup, run, key) if depth <= TEXTBOOK_DEPTH else None
    begun = time.perf_counter()
    learn = jax.jit(partial(train.learn, setup), donate_argnums=0).lower(run, key).compile()
    compiled = time.perf_counter() - begun

    def ours() -> Any:
        nonlocal run
        run, metrics = learn(run, key)
        return metrics

    seconds(ours)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rounds = [
        (seconds(ours), seconds(rival) if rival else 0.0) for _ in range(4 if depth <= TEXTBOOK_DEPTH else 2)
    ]
    # The first round of the textbook includes its compilation.
    best, best_rival = min(ours for ours, _ in rounds), min(rival for _, rival in rounds)
    gflop = needed_gflop(experiment(args, depth, updates, remat=False)) * updates
    peak = max(peak, matmul_gflops())
    return {
        "matmul_gflops": peak,
        "ms": 1e3 * best / updates,
        "compile_s": compiled,
        "peak_mb": resident,
        "gflops": gflop / best,
        "of_peak": gflop / best / peak,
        "vs_textbook": best_rival / best if rival else None,
    }


def needed_gflop(setup: train.Experiment) -> float:
    """Matrix-product arithmetic of one update."""
    run = train.shapes(setup)
    return plan.matmul_flops(partial(train.update, setup), run.agent, run.replay, run.key) / 1e9


def _filled(setup: train.Experiment) -> tuple[train.Run, jax.Array]:
    run = train.init(setup)
    gather = jax.jit(train.gatherer(setup), donate_argnums=0)
    for _ in range(7):
        run, _ = gather(run)
    return gather(run)


def _textbook(setup: train.Experiment, run: train.Run, key: jax.Array) -> Callable[[], Any]:
    """As many updates by the textbook, on batches drawn beforehand."""
    config, spec = setup.config, setup.env.spec
    settings = textbook.Settings(
        config.batch_size, config.updates_per_iteration, window=config.buffer_rows,
        action_dim=spec.action_dim, achieved=spec.achieved,
    )  # fmt: skip
    keys = train.update_keys(setup, key)
    batches = jax.jit(lambda: jax.lax.map(lambda key: train.sample(setup, run.replay, key), keys))()
    state = jax.jit(textbook.from_goalward)(run.agent)

    def updates(state: textbook.State) -> Any:
        return jax.lax.scan(lambda state, each: textbook.update(settings, state, *each), state, (batches, keys))

    learn = jax.jit(updates, donate_argnums=0)

    def call() -> Any:
        nonlocal state
        state, metrics = learn(state)
        return metrics

    return call


def in_process_of_its_own(args: Args, depth: int) -> Figures:
    """The same, measured by a new Python."""
    words = ["--depths", str(depth), "--width", str(args.width), "--batch-size", str(args.batch_size)]
    command = [sys.executable, "-m", "benchmarks.learner", *words, "--here", "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(result.stdout)
    return {"matmul_gflops": found["matmul_gflops"], **found["depths"][str(depth)]}


def behind(found: Mapping[str, Figures], baseline: Mapping[str, Figures]) -> list[str]:
    """What fell behind the baseline beyond noise, a line each."""
    lines = []
    for depth, figures in found.items():
        for name in RATIOS:
            old, new = baseline.get(depth, {}).get(name), figures[name]
            if old is not None and new is not None and new < (1 - NOISE) * old:
                lines.append(f"depth {depth}: {name} is {new:.2f}, the baseline {old:.2f}")
    return lines


def show(peak: float, found: Mapping[str, Figures], args: Args) -> None:
    """Print the figures as a table."""
    title = f"one update, width {args.width}, batch {args.batch_size}; matrix products reach {peak:.0f} GFLOP/s"
    table = Table(title=title)
    for name in ("depth", "ms", "compile s", "memory MB", "GFLOP/s", "of peak", "× textbook"):
        table.add_column(name, justify="right")
    for depth, row in found.items():
        ratio = row["vs_textbook"]
        cells = [f"{row[name]:,.{digits}f}" for name, digits in
                 (("ms", 1), ("compile_s", 1), ("peak_mb", 0), ("gflops", 0), ("of_peak", 2))]  # fmt: skip
        table.add_row(depth, *cells, f"{ratio:.2f}" if ratio else "–")
    Console().print(table)


def main(args: Args) -> int:
    """Measure, print, compare."""
    run = measure if args.here else in_process_of_its_own
    found = {str(depth): run(args, depth) for depth in args.depths}
    peak = max(figures.pop("matmul_gflops") or 0.0 for figures in found.values())
    if args.json:
        print(json.dumps({"matmul_gflops": peak, "depths": found}))
    else:
        show(peak, found, args)
    if args.save:
        ratios = {depth: {name: row[name] for name in RATIOS} for depth, row in found.items()}
        BASELINE.write_text(json.dumps(ratios, indent=2) + "\n", encoding="utf-8")
    if not args.gate:
        return 0
    lines = behind(found, json.loads(BASELINE.read_text(encoding="utf-8")))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
