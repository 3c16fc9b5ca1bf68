"""A boat on a river is to be steered to a place: a world of pure functions in JAX, which all worlds share.

    goalward check-env examples/boat.py
    goalward train examples/boat.py --out runs/boat

Observation (5): place in m, cosine and sine of the heading, speed in m/s. Goal (2): a place.
Action (2), of −1 to 1: thrust (no brakes: below 0 there is none) and rudder.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from goalward.envs.core import Env
from goalward.types import EnvSpec

STEP = 0.2  # s
WIDTH, LENGTH = 4.0, 8.0  # m, of the river
THRUST = 2.0  # m/s² at most
DRAG = 1.0  # 1/s
TURN = 2.0  # rad/s at full rudder


class Boat(NamedTuple):
    """A state of the world."""

    place: Array  # (2,) along and across the river, from its middle
    heading: Array  # () rad
    speed: Array  # () m/s, through the water


def make(episode_length: int = 100, threshold: float = 0.4, current: float = 0.3):
    """Steer a boat to a place on a river; the threshold in m, the current in m/s in the middle."""
    banks = jnp.array([LENGTH, WIDTH]) / 2

    def reset(key):
        place_key, heading_key, goal_key = jax.random.split(key, 3)
        place, goal = (
            jax.random.uniform(key, (2,), minval=-banks, maxval=banks) for key in (place_key, goal_key)
        )
        heading = jax.random.uniform(heading_key, minval=-jnp.pi, maxval=jnp.pi)
        return Boat(place, heading, jnp.zeros(())), goal

    def step(boat: Boat, action):
        thrust, rudder = action
        heading = boat.heading + STEP * TURN * rudder
        speed = boat.speed + STEP * (THRUST * jnp.maximum(thrust, 0.0) - DRAG * boat.speed)
        drift = jnp.array([current, 0.0]) * (1.0 - (boat.place[1] / banks[1]) ** 2)
        place = boat.place + STEP * (speed * jnp.stack([jnp.cos(heading), jnp.sin(heading)]) + drift)
        return Boat(jnp.clip(place, -banks, banks), heading, speed)

    def observe(boat: Boat):
        numbers = jnp.stack([jnp.cos(boat.heading), jnp.sin(boat.heading), boat.speed])
        return jnp.concatenate([boat.place, numbers])

    spec = EnvSpec(
        obs_dim=5,
        action_dim=2,
        goal_dim=2,
        episode_length=episode_length,
        achieved=lambda obs: obs[..., :2],
        distance=lambda achieved, goal: jnp.linalg.norm(achieved - goal, axis=-1),
        threshold=threshold,
    )
    return Env("boat", spec, reset, step, observe, terminated=lambda _: jnp.zeros((), bool))
