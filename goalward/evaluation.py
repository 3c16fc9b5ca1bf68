"""Evaluation: one episode in every world, without exploration, and what came of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from goalward.envs import core
from goalward.errors import UserError
from goalward.rollout import Act, nothing_pending, starter, unroller
from goalward.types import EnvSpec

# Above so many different goals, a table by goal tells nobody anything.
MOST_GOALS = 64
# Steps of all episodes together: of each it is kept whether it was at the goal.
MOST_STEPS = 100_000_000


class Episodes(NamedTuple):
    """M evaluation episodes, leaves (M, …)."""

    goal: Array  # (M, G) commanded
    time_at_goal: Array  # (M,) steps at the goal, of the episode's length
    success: Array  # (M,) at the goal at any step
    final_success: Array  # (M,) at the goal at the last step
    final_distance: Array  # (M,) to the goal at the last step, in the environment's unit


def most_episodes(spec: EnvSpec) -> int:
    """How many episodes an evaluation may have."""
    return MOST_STEPS // spec.episode_length


def episode_runner(
    env: core.Env, act: Act, *, record: bool = False, chunk: int = 1
) -> Callable[[Any, Key[Array, " M"]], tuple[Episodes, Any]]:
    """Make the function of (context, keys (M,)) that runs one episode per key to its time limit.

    `act` is given the number of the step, and gives `chunk` actions at a time. The function gives the episodes
    and, with `record`, the state and observations after each step, leaves (K, M, …).
    A world that terminates early stays where it ended and is at no goal from then on. Pure JAX without
    an engine.
    """
    spec, engine = env.spec, env.engine
    if record and engine and engine.complete:
        complete = engine.complete
        env = env._replace(engine=engine._replace(advance=lambda *given: complete(engine.advance(*given))))

    def look(worlds: core.Worlds, t: Array) -> tuple[Array, Any]:
        """Which worlds are at their goal after step t, and what is recorded."""
        obs = core.observe(env, worlds)
        at_goal = spec.success(spec.achieved(obs), worlds.goal) & (worlds.steps == t)
        return at_goal, (worlds.state, obs) if record else ()

    def turn(worlds: core.Worlds, obs: Array, action: Array, t: Array) -> tuple[core.Order, Any]:
        del obs
        return core.order_once(env, worlds, action), look(worlds, t)

    def sum_up(worlds: core.Worlds, looks: Any) -> tuple[Episodes, Any]:
        last = look(worlds, jnp.int32(spec.episode_length))
        at_goal, seen = jax.tree.map(lambda rows, end: jnp.concatenate([rows[1:], end[None]]), looks, last)
        distance = spec.distance(spec.achieved(core.observe(env, worlds)), worlds.goal)
        time_at_goal = jnp.sum(at_goal, axis=0, dtype=jnp.int32)
        return Episodes(worlds.goal, time_at_goal, time_at_goal > 0, at_goal[-1], distance), seen

    start, unroll = starter(env), unroller(env, act, chunk, turn)
    sum_up = jax.jit(sum_up) if env.engine else sum_up

    def run(context: Any, keys: Key[Array, " M"]) -> tuple[Episodes, Any]:
        pending = nothing_pending(env, keys.shape[0], chunk)
        worlds, _, looks = unroll(context, start(keys), pending, jnp.arange(spec.episode_length))
        return sum_up(worlds, looks)

    return run


class Evaluation(NamedTuple):
    """Means over episodes, and the same for each commanded goal."""

    success_rate: float  # share of episodes at the goal at any step
    final_success: float  # share at the goal at the last step
    time_at_goal: float  # steps
    time_at_goal_fraction: float  # of the episode's length
    final_distance: float
    episodes: int
    by_goal: list[dict[str, Any]]  # none where goals hardly repeat


def summarise(episodes: Episodes, episode_length: int) -> Evaluation:
    """Turn a table of episodes into means. Raises `UserError` where a distance is no number."""
    host: Any = jax.tree.map(np.asarray, episodes)
    if not np.isfinite(host.final_distance).all():
        raise UserError(
            "episodes end at a distance to their goal that is no finite number, so the environment gives such "
            "numbers; `goalward check-env ENV` says where"
        )
    goals, index = np.unique(host.goal, axis=0, return_inverse=True)
    few = goals if len(goals) <= MOST_GOALS else goals[:0]
    by_goal = [
        {"goal": [round(float(x), 6) for x in goal], **_means(host, index == i)} for i, goal in enumerate(few)
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
