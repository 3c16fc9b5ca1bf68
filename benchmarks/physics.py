"""Speed of the tasks on MuJoCo: `python -m benchmarks.physics [--tasks ant …] [--json]`.

For each task, in turns within one process: `collect` (what training runs: policy, physics, resets,
observations, records) with a policy of depth 4 and width 256, and raw `Batch.step` with random controls from
each of the states that `collect` came by. The ratio of the two is what all but the physics leaves of its speed.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from mujoco.batch import Batch
from rich.console import Console
from rich.table import Table

from goalward import config, envs, train
from goalward.envs import core
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
    """Turns of each; the median counts."""
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
    """Env steps a second of both, their ratio, and the share of a collect's time by part."""
    sizes = {"env": name, "num_envs": args.num_envs, "network": {"depth": args.depth, "width": args.width}}
    experiment = train.build(config.from_dict(sizes, "benchmarks.physics"))
    env, agent = experiment.env, experiment.agent
    clock = Clock(env)
    collect = collector(clock.env, agent.act, resample_goals=True)
    state = agent.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), args.steps)
    worlds = starter(env)(jax.random.split(jax.random.key(2), args.num_envs))
    raw = RawSteps(env, args)
    worlds, _ = jax.block_until_ready(collect(state, worlds, keys))
    raw.run(clock.rows)
    collects, raws, physics = [], [], []
    for _ in range(args.turns):
        clock.engine, clock.rows = 0.0, []
        begun = time.perf_counter()
        worlds, _ = jax.block_until_ready(collect(state, worlds, keys))
        collects.append(time.perf_counter() - begun)
        physics.append(clock.engine / collects[-1])
        raws.append(raw.run(clock.rows))
    rows = args.num_envs * args.steps
    return {
        "raw_sps": rows / median(raws),
        "collect_sps": rows / median(collects),
        "ratio": median(r / c for r, c in zip(raws, collects, strict=True)),
        "physics_share": median(physics),
        "policy_share": policy_seconds(experiment, state, worlds, args) / median(collects),
    }


class Clock:
    """An environment whose engine's time is added up, and the states it came by are kept."""

    def __init__(self, env: core.Env):
        self.engine, self.rows = 0.0, []
        engine = env.engine
        if engine is None:
            raise SystemExit(f"{env.name} has no engine to measure")

        def advance(*inputs: Any) -> Any:
            begun = time.perf_counter()
            result = engine.advance(*inputs)
            self.engine += time.perf_counter() - begun
            self.rows.append(inputs[0].row)
            return result

        self.env = env._replace(engine=engine._replace(advance=advance))


class RawSteps:
    """The engine alone: one `Batch.step` a step for all worlds, with random controls drawn beforehand."""

    def __init__(self, env: core.Env, args: Args):
        self._task = env.task
        self._batch = Batch(env.task.model, args.num_envs)
        low, high = env.task.model.actuator_ctrlrange.T
        shape = (args.steps, args.num_envs, env.task.model.nu)
        self._controls = np.random.default_rng(0).uniform(low, high, shape)

    def run(self, rows: list[np.ndarray]) -> float:
        """Seconds for a step from each of the given states of all worlds."""
        seconds = 0.0
        for row, control in zip(rows, self._controls, strict=True):
            self._batch.state[:] = row.view(np.float64)
            self._batch.ctrl = control
            begun = time.perf_counter()
            self._batch.step(nstep=self._task.substeps)
            seconds += time.perf_counter() - begun
        return seconds


def policy_seconds(experiment: train.Experiment, state: Any, worlds: core.Worlds, args: Args) -> float:
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
    for heading in ("task", "raw, steps/s", "collect, steps/s", "ratio", "physics", "policy"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for name, row in figures.items():
        shares = [f"{row[share]:.1%}" for share in ("physics_share", "policy_share")]
        table.add_row(
            name, f"{row['raw_sps']:,.0f}", f"{row['collect_sps']:,.0f}", f"{row['ratio']:.2f}", *shares
        )
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
