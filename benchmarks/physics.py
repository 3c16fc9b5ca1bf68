"""Speed of the tasks on MuJoCo: `python -m benchmarks.physics [--tasks ant …] [--json]`.

For each task: `collect` (what training runs: policy, physics, resets, observations, records) with an untrained
policy of depth 4 and width 256, whose actions are random; and raw `Batch.step`, which takes every step of all
worlds once more right after `collect` did, from the same states with the same controls, so that both have the
same of the machine. The ratio of the two is what all but the physics leaves of its speed.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from mujoco.batch import Batch
from rich.console import Console
from rich.table import Table

from goalward import config, envs, training
from goalward.envs import core
from goalward.envs.mujoco import engine
from goalward.rollout import collector, starter


@dataclass(frozen=True)
class Args:
    """What to measure."""

    tasks: tuple[str, ...] = ()
    """Names of tasks; by default all, of the mazes one of each robot."""
    num_envs: int = 512
    depth: int = 4
    width: int = 256
    steps: int = 30
    """Steps of all worlds in a turn."""
    turns: int = 5
    """Turns of so many steps."""
    json: bool = False


def chosen(args: Args) -> tuple[str, ...]:
    """The tasks to measure."""
    shown_mazes = ("ant_u4_maze", "ant_ball_maze", "humanoid_u_maze")
    return args.tasks or tuple(
        name
        for name in envs.names()
        if not name.startswith("point") and ("maze" not in name or name in shown_mazes)
    )


def measure(name: str, args: Args) -> dict[str, float]:
    """Env steps a second of both, their ratio, and the shares of a collect's time."""
    sizes = {
        "env": name,
        "num_envs": args.num_envs,
        "total_env_steps": 2_000_000_000,
        "network": {"depth": args.depth, "width": args.width},
    }
    experiment = training.build(config.from_dict(sizes, "benchmarks.physics"))
    agent = experiment.agent
    engine.Batch = TimedBatch
    twice = SteppedTwice(experiment.env, args)
    collect = collector(twice.env, agent.act, resample_goals=True)
    state = agent.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), args.steps)
    worlds = starter(experiment.env)(jax.random.split(jax.random.key(2), args.num_envs))
    worlds, *_ = jax.block_until_ready(collect(state, worlds, (), keys))
    collects, raws, physics = [], [], []
    for _ in range(args.turns):
        twice.raw, twice.setting, TimedBatch.seconds = 0.0, 0.0, 0.0
        begun = time.perf_counter()
        worlds, *_ = jax.block_until_ready(collect(state, worlds, (), keys))
        collects.append(time.perf_counter() - begun - twice.raw - twice.setting)
        raws.append(twice.raw)
        physics.append(TimedBatch.seconds)
    rows, total = args.num_envs * args.steps * args.turns, sum(collects)
    return {
        "raw_sps": rows / sum(raws),
        "collect_sps": rows / total,
        "ratio": sum(raws) / total,
        "physics_share": sum(physics) / total,
        "policy_share": args.turns * policy_seconds(experiment, state, worlds, args) / total,
    }  # what is left are resets, observations, records, copies and Python


class TimedBatch(Batch):
    """A batch that adds up the time within MuJoCo."""

    seconds = 0.0

    def step(self, *args: Any, **options: Any) -> None:
        """Step, on the recorder."""
        begun = time.perf_counter()
        super().step(*args, **options)
        TimedBatch.seconds += time.perf_counter() - begun

    def forward(self, *args: Any, **options: Any) -> None:
        """Compute what follows from the state, on the recorder."""
        begun = time.perf_counter()
        super().forward(*args, **options)
        TimedBatch.seconds += time.perf_counter() - begun


class SteppedTwice:
    """An environment whose every step is taken once more by an engine alone, on a clock of its own."""

    def __init__(self, env: core.Env, args: Args):
        self.raw, self.setting = 0.0, 0.0  # seconds of stepping, and of putting states in
        host, task = env.engine, env.task
        if host is None:
            raise SystemExit(f"{env.name} has no engine to measure")
        alone = Batch(task.model, args.num_envs)

        def advance(state: Any, control: np.ndarray, turn: np.ndarray, start: Any) -> Any:
            result = host.advance(state, control, turn, start)
            begun = time.perf_counter()
            kept = state.row.view(np.float64)
            alone.state[:, : kept.shape[1]], alone.ctrl = kept, control
            stepping = time.perf_counter()
            alone.step(nstep=task.substeps)
            self.raw += time.perf_counter() - stepping
            self.setting += stepping - begun
            return result

        self.env = env._replace(engine=host._replace(advance=advance))


def policy_seconds(experiment: training.Experiment, state: Any, worlds: core.Worlds, args: Args) -> float:
    """Time of the policy alone for as many steps."""
    obs, key = core.observe(experiment.env, worlds), jax.random.key(0)
    act: Callable[..., Any] = jax.jit(experiment.agent.act)
    jax.block_until_ready(act(state, obs, worlds.goal, key))
    begun = time.perf_counter()
    for _ in range(args.steps):
        jax.block_until_ready(act(state, obs, jnp.asarray(worlds.goal), key))
    return time.perf_counter() - begun


def main(args: Args) -> None:
    """Measure and print."""
    figures = {name: measure(name, args) for name in chosen(args)}
    if args.json:
        print(json.dumps({"tasks": figures}))
        return
    table = Table(title=f"{args.num_envs} worlds, policy of depth {args.depth} and width {args.width}")
    for heading in ("task", "raw, steps/s", "collect, steps/s", "ratio", "physics", "policy", "rest"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for name, row in figures.items():
        rest = 1 - row["physics_share"] - row["policy_share"]
        shares = [f"{share:.1%}" for share in (row["physics_share"], row["policy_share"], rest)]
        table.add_row(
            name, f"{row['raw_sps']:,.0f}", f"{row['collect_sps']:,.0f}", f"{row['ratio']:.2f}", *shares
        )
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
