"""Collect experience: one scan over time of all worlds."""

from collections.abc import Callable

import jax
from jaxtyping import Array, PRNGKeyArray

from goalward.envs import core
from goalward.types import Trajectory

Act = Callable[[Array, Array, PRNGKeyArray], Array]  # obs (N, D), goal (N, G), key -> action (N, A)


def collect(
    env: core.Env,
    worlds: core.Worlds,
    act: Act,
    steps: int,
    resample_goals: bool,
    key: PRNGKeyArray,
    steps_per_goal: int | None = None,
) -> tuple[core.Worlds, Trajectory]:
    """Record `steps` rows of every world: returns the worlds after them, and leaves (T, N, …).

    For `resample_goals` and `steps_per_goal` see `envs.core.step_or_reset`.
    """

    def row(worlds: core.Worlds, key: PRNGKeyArray) -> tuple[core.Worlds, Trajectory]:
        obs = core.observe(env, worlds)
        action = act(obs, worlds.goal, key)
        recorded = Trajectory(obs, action, worlds.goal, worlds.steps == 0, worlds.terminated)
        return core.step_or_reset(env, worlds, action, resample_goals, steps_per_goal), recorded

    return jax.lax.scan(row, worlds, jax.random.split(key, steps))
