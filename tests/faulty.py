"""A point on a square, as small as an environment can be, and what may be wrong with it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from goalward import contract
from goalward.diagnosis.recording import record
from goalward.envs import core
from goalward.types import EnvSpec

STEP = 0.2
CHOICES = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


class State(NamedTuple):
    place: Array  # (2,) in ±1
    turned: Array  # rad, by the first element of all actions so far
    last: Array  # (A,) action


def env(extra=None, start=None, goal=None, move=None, **changes):
    """The square, on which nothing is wrong; `extra` (state) -> (K,) is observed behind the place.

    `start` and `goal` (key) -> (2,); `move` (action) -> (2,); other names are of `EnvSpec` or of `Env`.
    """
    spec = {name: changes.pop(name) for name in list(changes) if name in EnvSpec._fields}
    actions = spec.get("action_dim", 2)

    def anywhere(key):
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)

    def reset(key):
        keys = jax.random.split(key)
        state = State((start or anywhere)(keys[0]), jnp.zeros(()), jnp.zeros(actions))
        return state, (goal or anywhere)(keys[1])

    def step(state, action):
        moved = STEP * (move(action) if move else action[:2])
        return State(jnp.clip(state.place + moved, -1.0, 1.0), state.turned + 0.5 * action[0], action)

    def observe(state):
        return jnp.concatenate([state.place, extra(state)]) if extra else state.place

    size = 2 + (len(extra(State(jnp.zeros(2), jnp.zeros(()), jnp.zeros(actions)))) if extra else 0)
    settings = EnvSpec(
        obs_dim=size,
        action_dim=actions,
        goal_dim=2,
        episode_length=80,
        achieved=lambda obs: obs[..., :2],
        distance=lambda a, b: jnp.linalg.norm(a - b, axis=-1),
        threshold=0.1,
    )._replace(**spec)
    built = core.Env("square", settings, reset, step, observe, lambda state: jnp.zeros((), bool))
    return built._replace(**changes)


def seen(built, worlds=12, steps=170):
    """What is recorded of it."""
    examined = contract.examine(built, worlds=worlds, steps=steps)
    assert examined.findings.problems == []
    return record(built, examined, 0)
