"""Time and memory of one update by depth, against this machine's matrix-product peak and a rival.

python -m benchmarks.learner                      # a table; --json for figures
python -m benchmarks.learner --agent chrono       # of another agent than CRL, beside CRL
python -m benchmarks.learner --gate               # exit code 1 where a ratio fell behind baseline.json
python -m benchmarks.learner --save               # make these ratios the baseline

Every depth is measured in a process of its own, together with the peak, so that a ratio is of one moment.
`ms` is an update with its sampling, in the scan that training runs; GFLOP/s counts the matrix products that the
update needs, not those that rematerialisation repeats. CRL's rival is the textbook, whose update is given
its batches for nothing; that of other agents is CRL, by the share of the peak that either reaches. `sampling`
is the share of an update's time in which batches are drawn, from episodes of 1000 steps.
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
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import textbook
from benchmarks.timing import matmul_gflops, seconds
from goalward import plan, replay, training
from goalward.config import AGENTS, NetworkConfig, TrainConfig, check_agent
from goalward.errors import UserError

BASELINE = Path(__file__).with_name("baseline.json")
RATIOS = ("of_peak", "vs_textbook")
ENVS = {"discrete_crl": "boxes_5x5_3"}
EPISODE = 1_000  # steps; a ring holds one and a half
# What a ratio may fall behind its baseline: runs of one commit differ by less.
NOISE = 0.15
# Unrolled, the textbook takes minutes to compile beyond.
TEXTBOOK_DEPTH = 64
REMAT_DEPTH = 512

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Args:
    """Sizes to measure, and what to do with the figures."""

    agent: str = "crl"
    """Learning method; the baseline is CRL's."""
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


def experiment(args: Args, depth: int, updates: int, agent: str, *, remat: bool) -> training.Experiment:
    """A learner of the paper's sizes, on a point maze or a grid, with so many updates in an iteration."""
    network = NetworkConfig(depth=depth, width=args.width, remat=remat)
    return training.build(
        TrainConfig(
            ENVS.get(agent, "point_u_maze"), batch_size=args.batch_size, updates_per_iteration=updates,
            network=network, agent=AGENTS[agent](), env_settings={"episode_length": EPISODE},
            buffer_rows=3 * EPISODE // 2,
        )
    )  # fmt: skip


def measure(args: Args, depth: int) -> Figures:
    """Figures of one depth."""
    updates, remat = max(2, min(20, 512 // depth)), depth >= REMAT_DEPTH
    setup = experiment(args, depth, updates, args.agent, remat=remat)
    peak = matmul_gflops()
    run, key = jax.block_until_ready(_filled(setup))
    draw = _draws(setup, run, key)
    rival, rival_gflop = _rival(args, setup, run, key)
    begun = time.perf_counter()
    ours = _learner(setup, run, key)
    compiled = time.perf_counter() - begun
    seconds(ours)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rounds = [
        [seconds(ours), seconds(draw), seconds(rival) if rival else 0.0]
        for _ in range(4 if depth <= TEXTBOOK_DEPTH else 2)
    ]
    # The first round of the textbook includes its compilation.
    best, best_draw, best_rival = (min(times) for times in zip(*rounds, strict=True))
    gflop = needed_gflop(experiment(args, depth, updates, args.agent, remat=False)) * updates
    peak = max(peak, matmul_gflops())
    is_crl = args.agent == "crl"
    return {
        "matmul_gflops": peak,
        "ms": 1e3 * best / updates,
        "compile_s": compiled,
        "peak_mb": resident,
        "gflops": gflop / best,
        "of_peak": gflop / best / peak,
        "sampling": best_draw / best,
        "vs_textbook": best_rival / best if rival and is_crl else None,
        "vs_crl": None if is_crl else gflop / best / (rival_gflop / best_rival),
    }


def _rival(
    args: Args, setup: training.Experiment, run: training.Run, key: jax.Array
) -> tuple[Callable[[], Any] | None, float]:
    """What is measured in turns with ours: the textbook, where it compiles, or CRL; with its arithmetic."""
    config = setup.config
    depth, updates = config.network.depth, config.updates_per_iteration
    if args.agent == "crl":
        return (_textbook(setup, run, key) if depth <= TEXTBOOK_DEPTH else None), 0.0
    crl = experiment(args, depth, updates, "crl", remat=config.network.remat)
    gflop = needed_gflop(experiment(args, depth, updates, "crl", remat=False)) * updates
    learn = _learner(crl, *jax.block_until_ready(_filled(crl)))
    seconds(learn)
    return learn, gflop


def _learner(setup: training.Experiment, run: training.Run, key: jax.Array) -> Callable[[], Any]:
    """An iteration's updates, compiled."""
    learn = jax.jit(partial(training.learn, setup), donate_argnums=0).lower(run, key).compile()
    run = jax.tree.map(jnp.copy, run)

    def updates() -> Any:
        nonlocal run
        run, metrics = learn(run, key)
        return metrics

    return updates


def _draws(setup: training.Experiment, run: training.Run, key: jax.Array) -> Callable[[], Any]:
    """An iteration's batches alone, compiled."""
    spec, relabel = setup.env.spec, setup.agent.relabel

    @jax.jit
    def draw(experience: replay.Replay) -> Any:
        experience = replay.index(experience, spec, relabel)

        def one(total: Any, key: jax.Array) -> tuple[Any, None]:
            batch = training.sample(setup, experience, key)  # all is looked at, so that all of it is drawn
            return total + sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(batch)), None

        return jax.lax.scan(one, jnp.zeros(()), training.update_keys(setup, key))[0]

    experience = jax.tree.map(jnp.copy, run.replay)
    seconds(lambda: draw(experience))
    return lambda: draw(experience)


def needed_gflop(setup: training.Experiment) -> float:
    """Matrix-product arithmetic of one update."""
    run = training.shapes(setup)
    return plan.matmul_flops(partial(training.update, setup), run.agent, run.replay, run.key) / 1e9


def _filled(setup: training.Experiment) -> tuple[training.Run, jax.Array]:
    """A run whose ring is full, and a key."""
    run = training.init(setup)
    gather = jax.jit(training.gatherer(setup), donate_argnums=0)
    for _ in range(setup.config.buffer_rows // setup.config.steps_per_iteration - 1):
        run, _ = gather(run)
    return gather(run)


def _textbook(setup: training.Experiment, run: training.Run, key: jax.Array) -> Callable[[], Any]:
    """As many updates by the textbook, on batches drawn beforehand."""
    config, spec = setup.config, setup.env.spec
    settings = textbook.Settings(
        config.batch_size, config.updates_per_iteration, window=config.buffer_rows,
        action_dim=spec.action_dim, achieved=spec.achieved,
    )  # fmt: skip
    keys = training.update_keys(setup, key)
    batches = jax.jit(lambda: jax.lax.map(lambda key: training.sample(setup, run.replay, key), keys))()
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
    words = ["--agent", args.agent, "--depths", str(depth)]
    words += ["--width", str(args.width), "--batch-size", str(args.batch_size)]
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
    title = f"one update of {args.agent}, width {args.width}, batch {args.batch_size}"
    table = Table(title=f"{title}; matrix products reach {peak:.0f} GFLOP/s")
    rival = "vs_textbook" if args.agent == "crl" else "vs_crl"
    heads = ("depth", "ms", "compile s", "memory MB", "GFLOP/s", "of peak", "sampling")
    for name in (*heads, "× textbook" if args.agent == "crl" else "× CRL's"):
        table.add_column(name, justify="right")
    for depth, row in found.items():
        ratio = row[rival]
        digits = {"ms": 1, "compile_s": 1, "peak_mb": 0, "gflops": 0, "of_peak": 2, "sampling": 3}
        cells = [f"{row[name]:,.{places}f}" for name, places in digits.items()]
        table.add_row(depth, *cells, f"{ratio:.2f}" if ratio else "–")
    Console().print(table)


def main(args: Args) -> int:
    """Measure, print, compare."""
    check_agent(args.agent)
    if args.agent != "crl" and (args.save or args.gate):
        raise UserError(f"agent is {args.agent}; the baseline is of crl, leave out --save and --gate")
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
