"""How ours compares with the integrator that a model ships with: `python -m benchmarks.integrators [--json]`.

Random controls, held for one control step each, in many worlds of the model as Gymnasium ships it but for
integrator and time step: steps a second, and the steps until the torso leaves its healthy heights. If the
physics is the same, so is the latter, up to the standard error.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import tyro
from mujoco.batch import Batch
from rich.console import Console
from rich.table import Table

from goalward import envs
from goalward.envs.mujoco import ant, humanoid, models

# Robot: what is ours, and (integrator, time step in s, steps of it) to compare: the shipped one comes first.
ROBOTS = {
    "ant": (
        ant,
        [("RK4", 0.01, 5), ("RK4", 0.005, 10), ("IMPLICITFAST", 0.01, 5), ("IMPLICITFAST", 0.005, 10)],
    ),
    "humanoid": (
        humanoid,
        [("RK4", 0.003, 10), ("IMPLICITFAST", 0.003, 10), ("IMPLICITFAST", 0.005, 6)],
    ),
}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    num_envs: int = 512
    steps: int = 150
    json: bool = False


def measure(robot: str, integrator: str, timestep: float, substeps: int, args: Args) -> dict[str, Any]:
    """Steps a second, and mean and standard error of the steps until a fall (at most `steps`)."""
    spec = models.gymnasium_model(robot, timestep)
    spec.option.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator}")
    model, random = spec.compile(), np.random.default_rng(0)
    batch = Batch(model, args.num_envs)
    posture = models.initial_qpos(model)
    noise = envs.default_settings(robot).start_noise
    batch.bind("qpos")[:] = posture + random.uniform(-noise, noise, (args.num_envs, len(posture)))
    low, high = ROBOTS[robot][0].HEALTHY_Z
    lowest, highest = model.actuator_ctrlrange.T
    fell = np.full(args.num_envs, args.steps)
    seconds = 0.0
    for step in range(args.steps):
        batch.ctrl = random.uniform(lowest, highest, (args.num_envs, model.nu))
        begun = time.perf_counter()
        batch.step(nstep=substeps)
        seconds += time.perf_counter() - begun
        z = batch.bind("qpos")[:, 2]
        fell = np.where((z < low) | (z > high), np.minimum(fell, step), fell)
    error = fell.std() / args.num_envs**0.5
    rate = args.num_envs * args.steps / seconds
    return {"steps_per_second": rate, "steps_until_fall": fell.mean(), "standard_error": error}


def main(args: Args) -> None:
    """Measure and print."""
    rows = [
        {"robot": robot, "integrator": name, "timestep": dt, "substeps": k, **measure(robot, name, dt, k, args)}
        for robot, (_, kinds) in ROBOTS.items()
        for name, dt, k in kinds
    ]
    if args.json:
        print(json.dumps(rows))
        return
    table = Table("robot", "integrator", "time step", "steps/s", "steps until a fall")
    for row in rows:
        until = f"{row['steps_until_fall']:.1f} ± {row['standard_error']:.1f}"
        step = f"{row['substeps']} × {row['timestep']:g} s"
        table.add_row(row["robot"], row["integrator"], step, f"{row['steps_per_second']:,.0f}", until)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
