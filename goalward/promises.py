"""What rows of random actions have to keep to, promise by promise: pure functions of rows in NumPy."""

import jax.numpy as jnp
import numpy as np

from goalward.envs import core
from goalward.findings import MOST_NAMED, Finding, listed, problem
from goalward.types import Trajectory

LEAST_DEVIATION = 1e-5  # of an element of the observation that is not constant


def steps_of(first: np.ndarray) -> np.ndarray:
    """Steps since the start of its episode for each row, given where episodes start, both (T, N)."""
    steps = np.zeros(first.shape, int)
    for t in range(1, len(steps)):
        steps[t] = np.where(first[t], 0, steps[t - 1] + 1)
    return steps


def finite(env: core.Env, rows: Trajectory) -> list[Finding]:
    """Observations and goals are finite; else the element, the step and the action before it are told."""
    del env
    broken, steps = [], steps_of(np.asarray(rows.first))
    for name, part in (("observations", rows.obs), ("goals", rows.goal)):
        bad = ~np.isfinite(part)
        if not bad.any():
            continue
        t, world, element = np.argwhere(bad)[0].tolist()
        step, elements = int(steps[t, world]), np.flatnonzero(bad.any(axis=(0, 1))).tolist()
        action = rows.action[t - 1, world] if step else None
        behind = "" if action is None else f", behind action {_rounded(np.asarray(action))}"
        told = (
            f"{name} are not all finite: element {element} is {part[t, world, element]} at step {step} of an "
            f"episode{behind}"
        )
        if len(elements) > 1:
            told += f"; in all, elements {listed([str(i) for i in elements])}"
        remedy = "look there for a division by 0, a root or logarithm of what is negative, a step too long"
        broken.append(
            problem("finite", told, remedy, elements=elements, element=element, step=step, action=action)
        )
    return broken


def _rounded(action: np.ndarray) -> str:
    shown = [f"{x:.3g}" for x in action[:MOST_NAMED]]
    return f"({', '.join(shown)}{', …' if len(action) > MOST_NAMED else ''})"


def constants(env: core.Env, rows: Trajectory) -> list[Finding]:
    """No element of the observation is constant but those that the environment lists."""
    deviation = rows.obs.reshape(-1, rows.obs.shape[-1]).std(axis=0, dtype=np.float64)
    found = sorted(set(np.flatnonzero(deviation < LEAST_DEVIATION).tolist()) - set(env.constant))
    if not found:
        return []
    values = rows.obs.reshape(-1, rows.obs.shape[-1]).mean(axis=0, dtype=np.float64)[found]
    remedy = "leave them out of the observation; list in `constant` those that only a good policy changes"
    told = f"elements {found} of the observation never change"
    return [problem("constant", told, remedy, elements=found, values=values)]


def successes(env: core.Env, rows: Trajectory) -> list[Finding]:
    """What is achieved is a success for itself, at distance 0."""
    achieved = env.spec.achieved(jnp.asarray(rows.obs))
    broken = []
    if not np.all(env.spec.success(achieved, achieved)):
        remedy = "`distance` must be below `threshold` there, and `alike`, where there is one, hold"
        broken.append(problem("success", "what is achieved is not a success for itself", remedy))
    away = np.abs(np.asarray(env.spec.distance(achieved, achieved)))
    if np.any(away != 0):
        told = "what is achieved is not at distance 0 of itself"
        remedy = "`distance` compares what is achieved with a goal, in the same order and unit"
        broken.append(problem("success", told, remedy, largest=away.max()))
    return broken


def shifts(env: core.Env, rows: Trajectory) -> list[Finding]:
    """What is achieved is linear in positions on the axes that the world may be shifted along."""
    obs, achieved, broken = jnp.asarray(rows.obs), env.spec.achieved, []
    for axis in env.spec.shifts:
        by = jnp.zeros_like(obs).at[..., jnp.asarray(axis)].set(1.0)
        if not np.allclose(achieved(obs + by), achieved(obs) + achieved(by), atol=1e-4):
            told = f"what is achieved does not shift along with elements {list(axis)}"
            broken.append(problem("shifts", told, "take the axis out of `shifts`", elements=axis))
    return broken


def ends(env: core.Env, rows: Trajectory) -> list[Finding]:
    """An episode ends where it is terminated, or after `episode_length` steps, and nowhere else."""
    limit, steps = env.spec.episode_length, steps_of(np.asarray(rows.first))
    over = rows.terminated[:-1] | (steps[:-1] >= limit)
    at_limit = steps == limit
    counted = "worlds are reset by `goalward.envs.core`, not by `step`, the engine or `observe`"
    wrong = {
        "the first rows of worlds do not start an episode": (not rows.first[0].all(), counted),
        "an episode ends that is neither terminated nor at its time limit": (
            np.any(rows.first[1:] & ~over), counted),
        f"an episode goes on after its end (time limit {limit})": (np.any(~rows.first[1:] & over), counted),
        "an episode is terminated where it starts": (
            np.any(rows.terminated & rows.first), "start where `terminated` does not hold"),
        "every time limit is called a termination": (
            at_limit.any() and np.all(rows.terminated[at_limit]),
            "`terminated` tells what ends an episode early; the time limit is `episode_length`"),
    }  # fmt: skip
    return [problem("ends", told, remedy) for told, (is_so, remedy) in wrong.items() if is_so]


def variety(env: core.Env, rows: Trajectory) -> list[Finding]:
    """Starts differ between episodes; so do goals, but in a maze that has only one."""
    parts = {"starts": rows.obs[rows.first], "goals": rows.goal[rows.first]}
    if env.maze is not None and len(np.unique(env.maze.pairs[:, 1], axis=0)) == 1:
        del parts["goals"]
    remedy = "draw them from the key that `reset` is given"
    return [
        problem("variety", f"all {name} of {len(part)} episodes are equal", remedy, value=part[0])
        for name, part in parts.items()
        if len(part) > 1 and np.all(part == part[0])
    ]


def goals_inside(env: core.Env, rows: Trajectory) -> list[Finding]:
    """Goals lie inside the walls of a maze."""
    if env.maze is None or env.to_cells is None:
        return []
    goals = np.asarray(rows.goal).reshape(-1, rows.goal.shape[-1])
    cells = np.round(env.to_cells(goals)).astype(int)
    inside = np.all((cells >= 0) & (cells < env.maze.walls.shape), axis=-1)
    if not inside.all() or env.maze.walls[cells[:, 0], cells[:, 1]].any():
        told = "a goal lies in a wall or outside of the maze"
        return [problem("inside", told, "look at the units of goals, and at `to_cells`")]
    return []


OF_FINITE_ROWS = (constants, successes, shifts, ends, variety, goals_inside)
