"""How a critic spreads out the states of a way to a goal: their principal axes, and how many they fill."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from goalward.envs.core import Env
from goalward.envs.maze import distances
from goalward.pictures import style
from goalward.pictures.figures import GOAL
from goalward.training import Experiment, evaluation_keys, evaluator

COLUMNS = 3


class Way(NamedTuple):
    """Representations of the states of an episode on its way to the goal."""

    title: str
    states: np.ndarray  # (K, R) φ(s, π(s, g)) by step
    arrived: bool


class Axis(NamedTuple):
    """A principal axis of points."""

    along: np.ndarray  # (K,) of each point, from the mean
    share: float  # of the variance


def way_to_goal(title: str, experiment: Experiment, agent: Any) -> Way:
    """The greedy episode of an evaluation that arrives at the farthest goal, up to its first step there.

    Where none does, it is all of the one that ends nearest to its goal. The episodes are those of every
    evaluation of the run.
    """
    spec, keys = experiment.eval_env.spec, evaluation_keys(experiment.config)
    episodes, (_, obs) = evaluator(experiment, record=True)(agent, keys)
    at_goal = np.asarray(jax.vmap(spec.success, (0, None))(spec.achieved(obs), episodes.goal))  # (K, M)
    arrived, goals = np.asarray(episodes.success), np.asarray(episodes.goal)
    if arrived.any():
        far = _farness(experiment.eval_env, np.asarray(spec.achieved(obs[0])), goals)
        chosen = int(np.argmax(np.where(arrived, far, -np.inf)))
        steps = max(int(np.argmax(at_goal[:, chosen])) + 1, 2)
    else:
        chosen, steps = int(np.argmin(np.asarray(episodes.final_distance))), len(obs)
    seen = obs[:steps, chosen]
    goal = jnp.broadcast_to(episodes.goal[chosen], (len(seen), goals.shape[-1]))
    return Way(title, np.asarray(jax.jit(experiment.agent.embed)(agent, seen, goal)), bool(arrived[chosen]))


def _farness(env: Env, starts: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """How far goals (M, G) are from starts (M, G): cells to walk in a maze, else straight."""
    if env.maze is None or env.to_cells is None:
        return np.asarray(env.spec.distance(jnp.asarray(starts), jnp.asarray(goals)))
    pairs = [np.rint(np.asarray(env.to_cells(places))).astype(int).tolist() for places in (starts, goals)]
    return np.array(
        [distances(env.maze.walls, tuple(start))[tuple(goal)] for start, goal in zip(*pairs, strict=True)]
    )


def principal_axes(points: np.ndarray, number: int = 2) -> list[Axis]:
    """The first principal axes of points (K, R), those with most variance first (Pearson 1901)."""
    centred = np.asarray(points, float) - np.mean(points, axis=0)
    along, spread, _ = np.linalg.svd(centred, full_matrices=False)
    variance = spread**2
    shares = variance / variance.sum() if variance.sum() > 0 else np.zeros_like(variance)
    return [Axis(along[:, i] * spread[i], float(shares[i])) for i in range(min(number, len(spread)))]


def effective_rank(points: np.ndarray) -> float:
    """Participation ratio (Σλ)² / Σλ² of the eigenvalues λ of the covariance of points (K, R).

    It is n where n directions have equal variance and the others none; 0 where all points are one.
    """
    centred = np.asarray(points, float) - np.mean(points, axis=0)
    eigenvalues = np.linalg.svd(centred, compute_uv=False) ** 2
    largest = eigenvalues.max(initial=0.0)
    if largest == 0:
        return 0.0
    eigenvalues = eigenvalues / largest  # squares of small numbers would vanish
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


@style.large_text()
def embedding(ways: Sequence[Way]) -> Figure:
    """The first two principal axes of each way, coloured by time; equal lengths are equal within a panel."""
    figure, axes = style.panels(len(ways), COLUMNS)
    columns = min(COLUMNS, max(len(ways), 1))
    figure.set_size_inches(2.5 * max(columns, 2), -(-len(ways) // columns) * 3.1 + 0.8)
    for one, way in zip(axes, ways, strict=True):
        _draw(one, way)
    colours = mpl.colormaps[style.MAP]
    marks: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7}
    handles = [
        Line2D([], [], color=colours(style.LIGHT), label="start", **marks),
        Line2D([], [], color=colours(style.DARK), label="end", **marks),
        Line2D([], [], color=GOAL, marker="*", markersize=13, linestyle="", label="first step at the goal"),
    ]
    style.legend(figure, handles, "first two principal axes, with their share of the variance")
    return figure


def _draw(axes: Axes, way: Way) -> None:
    found = principal_axes(way.states)
    x, y = found[0].along, found[1].along if len(found) > 1 else np.zeros(len(way.states))
    axes.plot(x, y, color=style.GREY, linewidth=0.6, alpha=0.5)
    colours = mpl.colormaps[style.MAP](np.linspace(style.LIGHT, style.DARK, len(x)))
    axes.scatter(x, y, c=colours, s=16, zorder=2)
    if way.arrived:
        axes.plot(x[-1], y[-1], "*", color=GOAL, markersize=13, markeredgecolor="white", zorder=3)
    share = sum(axis.share for axis in found)
    lines = [f"{share:.0%}, effective rank {effective_rank(way.states):.1f}"]
    if not way.arrived:
        lines.append("never arrived")
    axes.set_title("\n".join([way.title, *lines]), fontsize=11)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.1)
