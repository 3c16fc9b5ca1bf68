"""Evaluation: one episode in every world, without exploration, and what came of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from goalward.envs import core

Policy = Callable[[Array, Array], Array]  # obs (M, D), goal (M, G) -> action (M, A)


class Episodes(NamedTuple):
    """M evaluation episodes, leaves (M, …)."""

    goal: Array  # (M, G) commanded
    time_at_goal: Array  # (M,) steps at the goal, of the episode's length
    success: Array  # (M,) at the goal at any step
    final_success: Array  # (M,) at the goal at the last step
    final_distance: Array  # (M,) to the goal at the last step, in the environment's unit


def run_episodes(env: core.Env, policy: Policy, keys: Key[Array, " M"]) -> tuple[Episodes, Array]:
    """Run one episode per key, (M,), to its time limit; also the observations after each step, (K, M, D).

    A world that terminates early stays where it ended and is at no goal from then on.
    """
    spec = env.spec

    def step(worlds: core.Worlds, _: None) -> tuple[core.Worlds, tuple[Array, Array]]:
        stepped = core.step(env, worlds, policy(core.observe(env, worlds), worlds.goal))
        over = worlds.terminated
        worlds = core.select(over, worlds, stepped)
        obs = core.observe(env, worlds)
        return worlds, (obs, spec.success(spec.achieved(obs), worlds.goal) & ~over)

    worlds = core.start(env, keys)
    end, (obs, at_goal) = jax.lax.scan(step, worlds, length=spec.episode_length)
    final_distance = spec.distance(spec.achieved(obs[-1]), end.goal)
    time_at_goal = jnp.sum(at_goal, axis=0, dtype=jnp.int32)
    return Episodes(end.goal, time_at_goal, time_at_goal > 0, at_goal[-1], final_distance), obs


class Evaluation(NamedTuple):
    """Means over episodes, and the same for each commanded goal."""

    success_rate: float  # share of episodes at the goal at any step
    final_success: float  # share at the goal at the last step
    time_at_goal: float  # steps
    time_at_goal_fraction: float  # of the episode's length
    final_distance: float
    episodes: int
    by_goal: list[dict[str, Any]]


def summarise(episodes: Episodes, episode_length: int) -> Evaluation:
    """Turn a table of episodes into means."""
    host: Any = jax.tree.map(np.asarray, episodes)
    goals, index = np.unique(host.goal, axis=0, return_inverse=True)
    by_goal = [
        {"goal": [round(float(x), 6) for x in goal], **_means(host, index == i)} for i, goal in enumerate(goals)
    ]
    means = _means(host, np.ones(len(index), bool))
    fraction = means["time_at_goal"] / episode_length
    return Evaluation(time_at_goal_fraction=fraction, by_goal=by_goal, **means)


def _means(host: Any, chosen: np.ndarray) -> dict[str, Any]:
    return {
        "success_rate": float(host.success[chosen].mean()),
        "final_success": float(host.final_success[chosen].mean()),
        "time_at_goal": float(host.time_at_goal[chosen].mean()),
        "final_distance": float(host.final_distance[chosen].mean()),
        "episodes": int(chosen.sum()),
    }
