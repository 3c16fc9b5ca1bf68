"""Bring site tip of arm.xml to a goal.

Observation (9), by element:
     0 to 2  angles of joints turn, shoulder, elbow in rad
     3 to 5  velocities of all joints, in m/s and rad/s
     6 to 8  xyz of site tip, in m, which is to be reached
Action (3), of −1 to 1, over each actuator's range: turn, shoulder, elbow.

Written by `goalward new-task examples/arm/arm.xml --goal site:tip --out examples/arm/reach.py`, then changed
by hand: goals lie above the table.

    goalward check-env examples/arm/reach.py
    goalward train examples/arm/reach.py --out runs/arm
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from goalward.task import Marker, Physics, Start, Task, places, reach_spec

XML = Path(__file__).parent / "arm.xml"
SUBSTEPS = 8  # of 0.005 s, in a step
START = np.array([0, 0.3, 0.8])  # qpos of the keyframe home
NOISY = np.array([0, 1, 2], int)  # elements of it that differ from episode to episode
LOWEST = 0.1  # height of goals above the table, in m; changed by hand


def make(episode_length: int = 250, threshold: float = 0.05, start_noise: float = 0.1):
    """Bring site tip to a goal; thresholds in m, noise in m and rad."""
    model = mujoco.MjModel.from_xml_path(str(XML))
    # Where random postures bring it.
    goals = jnp.asarray(places(model, lambda data: data.site("tip").xpos[[0, 1, 2]]))
    # Changed by hand: random postures know of no table, so half of their goals lay within it or below.
    goals = goals[goals[:, 2] > LOWEST]

    def reset(key):
        noise_key, key = jax.random.split(key)
        noise = start_noise * jax.random.uniform(noise_key, NOISY.shape, minval=-1.0)
        qpos = jnp.asarray(START, jnp.float32).at[NOISY].add(noise)
        wanted = goals[jax.random.randint(key, (), 0, len(goals))]
        return Start(qpos, jnp.zeros(model.nv)), wanted

    def observe(physics: Physics):
        parts = [
            physics.qpos[0:3],
            physics.qvel,
            physics.site_xpos[0][0:3],
        ]
        return jnp.concatenate(parts)

    def markers(goal):
        return [Marker(goal, threshold)]

    goal = slice(6, 9)  # of the observation
    spec = reach_spec(model, 9, goal, episode_length, threshold)
    return Task("reach", model, SUBSTEPS, spec, reset, observe, markers, reads=("site_xpos",))
