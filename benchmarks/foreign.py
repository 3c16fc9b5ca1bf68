"""Speed of environments of Gymnasium: `python -m benchmarks.foreign [--envs gym:Ant-v5 …] [--json]`.

For each, in turns: `collect` (what training runs: policy, steps, resets, observations, records), with an
untrained policy of depth 4 whose actions are random; and the vector environment of `gymnasium.make_vec`,
stepped alone with random actions, by processes (`async`) where more than one core is ours, else by a loop
(`sync`).
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from goalward import config, machine, presets, training
from goalward.rollout import collector, starter

# Which elements of the observation are to be reached is without weight here; these are positions.
SETTINGS: dict[str, dict[str, Any]] = {
    "gym:Reacher-v5": {"goal": [4, 5]},
    "gym:Hopper-v5": {"goal": [0]},
    "gym:Ant-v5": {"goal": [0]},
}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    envs: tuple[str, ...] = tuple(SETTINGS)
    """Names of environments."""
    num_envs: int = 32
    width: int = 128
    steps: int = 100
    """Steps of all worlds in a turn."""
    turns: int = 5
    """Turns of so many steps, of each in turn."""
    json: bool = False


def measure(name: str, args: Args, settings: dict[str, Any]) -> dict[str, float]:
    """Env steps a second of both, medians over turns, and the median of their ratios."""
    settings = {"threshold": 0.1, **settings}
    sizes = {"env": name, "env_settings": settings, "num_envs": args.num_envs, "network": {"width": args.width}}
    given = config.merge(presets.load("gym", None), sizes)
    experiment = training.build(config.from_dict(given, "benchmarks.foreign"))
    agent, rows = experiment.agent, args.num_envs * args.steps
    collect = collector(experiment.env, agent.act, resample_goals=True)
    state, keys = agent.init(jax.random.key(0)), jax.random.split(jax.random.key(1), args.steps)
    worlds = starter(experiment.env)(jax.random.split(jax.random.key(2), args.num_envs))
    worlds, *_ = jax.block_until_ready(collect(state, worlds, (), keys))
    alone = gymnasium.make_vec(name.removeprefix("gym:"), args.num_envs, **_vectorised())
    alone.reset(seed=0)
    ours, theirs = [], []
    for _ in range(args.turns):
        begun = time.perf_counter()
        worlds, *_ = jax.block_until_ready(collect(state, worlds, (), keys))
        ours.append(rows / (time.perf_counter() - begun))
        actions = [alone.action_space.sample() for _ in range(args.steps)]
        begun = time.perf_counter()
        for action in actions:
            alone.step(action)
        theirs.append(rows / (time.perf_counter() - begun))
    alone.close()
    return {
        "vector_sps": float(np.median(theirs)),
        "collect_sps": float(np.median(ours)),
        "ratio": float(np.median(np.divide(ours, theirs))),
    }


def _vectorised() -> dict[str, Any]:
    """How worlds are run side by side; a process with JAX in it may not be forked."""
    if machine.cores() == 1:
        return {"vectorization_mode": "sync"}
    return {"vectorization_mode": "async", "vector_kwargs": {"context": "spawn"}}


def main(args: Args) -> None:
    """Measure, and print a table or JSON."""
    found = {name: measure(name, args, SETTINGS.get(name, {"goal": [0]})) for name in args.envs}
    if args.json:
        print(json.dumps(found))
        return
    table = Table("environment", "vector environment, steps/s", "collect, steps/s", "ratio")
    for name, row in found.items():
        table.add_row(name, f"{row['vector_sps']:,.0f}", f"{row['collect_sps']:,.0f}", f"{row['ratio']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
