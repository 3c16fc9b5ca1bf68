"""What becomes of learning beside what is large: `python -m benchmarks.scales [--json]`.

The U-maze, whose position (two numbers around 1) is observed beside the last move: two numbers of a deviation
around 0.6, times a factor, plus an offset.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax.numpy as jnp
import tyro
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

from goalward import envs, presets, runs, training
from goalward.config import TrainConfig, from_dict, merge
from goalward.envs import core

MAZE = "point_u_maze"
NETWORK = {"depth": 4, "width": 64}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    factors: tuple[float, ...] = (1.0, 30.0, 100.0, 300.0, 1000.0, 10000.0)
    """How much larger moves are made."""
    offsets: tuple[float, ...] = (1000.0,)
    """What is added to them, in runs of factor 1."""
    total_env_steps: int = 400_000
    """Steps of a run."""
    json: bool = False
    """Print JSON."""


def beside(factor: float, offset: float) -> Callable[..., core.Env]:
    """Make the function that builds the maze, with the last move in its observation."""
    make = envs.make

    def build(name: str, settings: Any = None) -> core.Env:
        env = make(name, settings)

        def observe(state: Any) -> Array:
            return jnp.concatenate([env.observe(state), factor * state.velocity / 0.2 + offset])

        return env._replace(spec=env.spec._replace(obs_dim=4), observe=observe)

    return build


def settings(normalised: bool, steps: int) -> TrainConfig:
    """Settings of a run: those of the preset, four evaluations."""
    changes = {"env": MAZE, "total_env_steps": steps, "epochs": 4, "network": NETWORK}
    changes["agent"] = {"normalise_inputs": normalised}
    return from_dict(merge(presets.load("point"), changes), "benchmarks.scales")


def measure(factor: float, offset: float, normalised: bool, steps: int) -> dict[str, Any]:
    """Success rate and share of the time at the goal of the last evaluation of a run."""
    with tempfile.TemporaryDirectory() as folder, patch.object(envs, "make", beside(factor, offset)):
        run = Path(folder) / "run"
        for _ in training.train(settings(normalised, steps), run):
            pass
        last = runs.read_metrics(run)[-1]
    kind = {"factor": factor, "offset": offset, "normalised": normalised}
    return kind | {name: last[name] for name in ("success_rate", "time_at_goal_fraction")}


def main(args: Args) -> None:
    """Measure and print."""
    kinds = [(factor, 0.0) for factor in args.factors] + [(1.0, offset) for offset in args.offsets]
    rows = [measure(*kind, normalised, args.total_env_steps) for kind in kinds for normalised in (False, True)]
    if args.json:
        print(json.dumps(rows))
        return
    table = Table(title=f"{MAZE}, {args.total_env_steps:,} steps: position beside the last move")
    for name in ("move times", "plus", "inputs normalised", "success", "time at goal"):
        table.add_column(name, justify="right")
    for row in rows:
        yes = "yes" if row["normalised"] else "no"
        measured = f"{row['success_rate']:.2f}", f"{row['time_at_goal_fraction']:.2f}"
        table.add_row(f"{row['factor']:,.0f}", f"{row['offset']:,.0f}", yes, *measured)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
