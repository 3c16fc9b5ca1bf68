"""How soon random actions make an ant fall, by its motors and masses: `python -m benchmarks.falls [--json]`.

Uniform random actions, new ones each step. How far they move an ant that does not fall is how fast it explores.
"""

import json
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tyro
from jaxtyping import Array, PRNGKeyArray
from rich.console import Console
from rich.table import Table

from goalward import envs
from goalward.rollout import collector, starter


@dataclass(frozen=True)
class Args:
    """What to measure."""

    gears: tuple[float, ...] = (150.0, 105.0, 75.0, 60.0, 45.0, 30.0)
    """Torques at the bounds of an action, N m."""
    num_envs: int = 64
    """Ants."""
    steps: int = 300
    """Steps of each, of 0.05 s."""
    json: bool = False
    """Print JSON."""


def measure(settings: dict[str, Any], args: Args) -> dict[str, Any]:
    """Share of ants that do not fall, the median step of falls, height and distance moved in m."""
    env = envs.make("ant", settings)

    def act(context: None, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        del context, goal
        return jax.random.uniform(key, (obs.shape[0], env.spec.action_dim), minval=-1.0, maxval=1.0)

    worlds = starter(env)(jax.random.split(jax.random.key(0), args.num_envs))
    keys = jax.random.split(jax.random.key(1), args.steps)
    rows = collector(env, act, resample_goals=True)(None, worlds, (), keys)[2]
    fell, obs = np.asarray(rows.terminated), np.asarray(rows.obs)
    step = np.where(fell.any(axis=0), fell.argmax(axis=0), args.steps)
    upright = np.arange(args.steps)[:, None] < step[None]
    moved = np.linalg.norm(obs[-1, :, :2] - obs[0, :, :2], axis=1)[upright[-1]]
    return {
        "upright": float(upright[-1].mean()),
        "median_fall": float(np.median(step)),
        "height": float(obs[..., 2][upright].mean()),
        "moved": float(moved.mean()) if moved.size else None,
    }


def main(args: Args) -> None:
    """Measure and print."""
    kinds: list[dict[str, Any]] = [{"gear": gear} for gear in args.gears]
    kinds.append({"gear": args.gears[0], "brax_inertia": True})
    rows = [kind | measure(kind, args) for kind in kinds]
    if args.json:
        print(json.dumps(rows))
        return
    table = Table("gear, N m", f"upright after {args.steps}", "median fall", "height, m", "moved, m")
    for row in rows:
        moved = "–" if row["moved"] is None else f"{row['moved']:.2f}"
        cells = (f"{row['upright']:.2f}", f"{row['median_fall']:.0f}", f"{row['height']:.3f}", moved)
        table.add_row(f"{row['gear']:.0f}{', Brax' if 'brax_inertia' in row else ''}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
