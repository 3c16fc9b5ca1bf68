"""How fast an ant can go, by its masses and motors: `python -m benchmarks.gaits [--json]`.

Each joint swings by a sine of its own amplitude, offset and phase, all with one frequency; the cross-entropy
method looks for the gait that leads farthest from the start without a fall. A policy that sees what it does may
be faster: this compares ants, not policies.
"""

import json
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

from goalward import envs
from goalward.evaluation import episode_runner

SECONDS = 0.05  # of a step
# Mean and deviation that gaits are first drawn with: amplitude, offset, phase (rad) of a joint; frequency (Hz).
FIRST = ((0.6, 0.3), (0.0, 0.4), (0.0, 2.0), (1.5, 0.8))
KEPT = 12  # one in so many gaits shapes the next generation
NARROWEST = 0.02  # deviation


@dataclass(frozen=True)
class Args:
    """What to measure."""

    gears: tuple[float, ...] = (150.0,)
    """Torques at the bounds of an action, N m."""
    gaits: int = 384
    """Gaits in a generation, each of an ant of its own."""
    generations: int = 5
    """Generations of gaits."""
    steps: int = 100
    """Steps of each, of 0.05 s."""
    json: bool = False
    """Print JSON."""


def actions(gaits: np.ndarray, joints: int, steps: int) -> np.ndarray:
    """Actions (T, N, A) of gaits (N, 3 A + 1)."""
    amplitude, offset, phase = (gaits[:, i * joints : (i + 1) * joints] for i in range(3))
    turns = np.arange(steps)[:, None, None] * SECONDS * np.abs(gaits[:, -1:])
    return np.clip(offset + amplitude * np.sin(2 * np.pi * turns + phase), -1, 1).astype(np.float32)


def measure(settings: dict[str, Any], args: Args) -> dict[str, float]:
    """Speed, m/s, of the fastest gait of the last generation, and the mean of its fastest tenth."""
    env = envs.make("ant", settings | {"episode_length": args.steps})
    joints, random = env.spec.action_dim, np.random.default_rng(0)

    def act(planned: Array, obs: Array, goal: Array, t: Array) -> Array:
        del obs, goal
        return planned[t]

    play, over = episode_runner(env, act, record=True), jax.jit(jax.vmap(env.terminated))
    counts = (joints, joints, joints, 1)
    mean, deviation = (np.repeat([kind[i] for kind in FIRST], counts) for i in range(2))
    speed = np.zeros(args.gaits)
    for _ in range(args.generations):
        gaits = mean + deviation * random.standard_normal((args.gaits, len(mean)))
        planned = jnp.asarray(actions(gaits, joints, args.steps))
        _, (states, obs) = play(planned, jax.random.split(jax.random.key(0), args.gaits))
        fell = np.asarray(over(jax.tree.map(lambda leaf: leaf[-1], states)))
        way = np.linalg.norm(np.asarray(obs[-1] - obs[0])[:, :2], axis=1) / ((args.steps - 1) * SECONDS)
        speed = np.where(fell, 0.0, way)  # a gait that ends in a fall is none
        best = gaits[np.argsort(-speed)[: max(args.gaits // KEPT, 2)]]
        mean, deviation = best.mean(axis=0), best.std(axis=0) + NARROWEST
    fastest = np.sort(speed)[-max(args.gaits // 10, 1) :]
    return {"fastest": float(fastest[-1]), "fastest_tenth": float(fastest.mean())}


def main(args: Args) -> None:
    """Measure and print."""
    kinds = [{"gear": gear, "brax_inertia": heavy} for gear in args.gears for heavy in (False, True)]
    rows = [kind | measure(kind, args) for kind in kinds]
    if args.json:
        print(json.dumps(rows))
        return
    table = Table("gear, N m", "fastest gait, m/s", "fastest tenth, m/s")
    for row in rows:
        cells = (f"{row['fastest']:.2f}", f"{row['fastest_tenth']:.2f}")
        table.add_row(f"{row['gear']:.0f}{', Brax' if row['brax_inertia'] else ''}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
