"""Does a critic know which way to go? How it orders actions at one place, and where it leads by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward.envs.maze import Maze
from goalward.envs.point import PointState, from_cells
from goalward.evaluation import summarise
from goalward.pictures.figures import in_walls, maze_of, places
from goalward.pictures.maps import rank_correlation
from goalward.pictures.walking import walking_distances
from goalward.training import Experiment, evaluation_keys, evaluator

DIRECTIONS = 16  # of actions at full force
PLACES = 200  # about, of a maze
ALIKE = 1e-6  # cells; where no action leads nearer than another by more, there is nothing to order


class Choices(NamedTuple):
    """What a critic makes of the actions at places of a maze, for one goal."""

    learned: np.ndarray  # (P, DIRECTIONS): −f(s, a, g)
    true: np.ndarray  # (P, DIRECTIONS), cells: along the shortest way from where an action leads
    here: np.ndarray  # (P,), cells: likewise from the place itself


def action_rank(experiment: Experiment, agent: Any) -> float:
    """Spearman's rank correlation of the learned distance of actions with how far it is from where they lead.

    At each place of a maze, at rest, `DIRECTIONS` actions are taken, for all steps of a chunk; the learned
    distance is −f(s, a, g), the true one that along the shortest way. A mean over places and over the goals of
    evaluations.
    """

    def rank(found: Choices) -> float:
        pairs = zip(found.learned, found.true, strict=True)
        return np.mean([rank_correlation(one, other) for one, other in pairs if np.ptp(other) > ALIKE]).item()

    return float(np.mean([rank(found) for found in _choices(experiment, agent)]))


def right_way(experiment: Experiment, agent: Any) -> float:
    """The share of places where the action of `action_rank` that the critic likes best leads nearer.

    Of places from where some action does; a mean over the goals of evaluations.
    """

    def share(found: Choices) -> float:
        nearer = found.true < found.here[:, None] - ALIKE
        best = np.argmin(found.learned, axis=1)
        return np.mean(nearer[np.arange(len(best)), best][nearer.any(axis=1)]).item()

    return float(np.mean([share(found) for found in _choices(experiment, agent)]))


def _choices(experiment: Experiment, agent: Any) -> Iterator[Choices]:
    """For each goal of evaluations."""
    env, maze = experiment.env, maze_of(experiment)
    cells, actions = _looked_at(maze), _actions()
    start = PointState(jnp.asarray(cells, jnp.float32), jnp.zeros((len(cells), 2)))
    led = _led_to(env.step, start, actions, experiment.agent.chunk)
    judge, obs = jax.jit(experiment.agent.action_value), np.asarray(jax.vmap(env.observe)(start))
    taken = np.tile(actions, (len(cells), experiment.agent.chunk))
    for goal in np.unique(maze.pairs[:, 1], axis=0):
        true = walking_distances(maze.walls, led.reshape(-1, 2), goal.astype(float)).reshape(led.shape[:2])
        here = walking_distances(maze.walls, cells, goal.astype(float))
        goals = np.tile(from_cells(maze, goal).astype(np.float32), (len(taken), 1))
        learned = -np.asarray(judge(agent, np.repeat(obs, len(actions), axis=0), taken, goals))
        yield Choices(learned.reshape(true.shape), true, here)


@dataclass(frozen=True)
class Greedy:
    """Does what the critic likes best: to stay, or one of `DIRECTIONS` actions all around."""

    agent: Any

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once, all the same."""
        return self.agent.chunk

    def exploit(self, state: Any, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Take the action with the most value, (N, H·A)."""
        del key
        choices = jnp.tile(jnp.asarray(np.concatenate([np.zeros((1, 2), np.float32), _actions()])), self.chunk)

        def value(action: Array) -> Array:
            every = jnp.broadcast_to(action, (obs.shape[0], *action.shape))
            return self.agent.action_value(state, obs, every, goal)

        return choices[jnp.argmax(jax.vmap(value)(choices), axis=0)]


def greedy_score(experiment: Experiment, agent: Any) -> float:
    """The time at goal, a share of the episode, of acting by the critic alone in episodes of evaluations."""
    greedy: Any = Greedy(experiment.agent)  # as much of an agent as evaluations need
    table, _ = evaluator(experiment._replace(agent=greedy))(agent, evaluation_keys(experiment.config))
    return summarise(table, experiment.eval_env.spec.episode_length).time_at_goal_fraction


def _looked_at(maze: Maze) -> np.ndarray:
    """Free places all over a maze, (P, 2), each a row and a column in cells."""
    free = places(maze)[~in_walls(maze)]
    return free[:: max(1, len(free) // PLACES)]


def _actions() -> np.ndarray:
    """All around, each as large as an action can be, (DIRECTIONS, 2)."""
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (around / np.abs(around).max(axis=1, keepdims=True)).astype(np.float32)


def _led_to(step: Any, start: PointState, actions: np.ndarray, times: int) -> np.ndarray:
    """Where each action leads from each place, taken so many times, (P, DIRECTIONS, 2)."""

    def follow(state: PointState, action: Any) -> Any:
        for _ in range(times):
            state = step(state, action)
        return state.position

    from_all = jax.vmap(jax.vmap(follow, in_axes=(None, 0)), in_axes=(0, None))
    return np.asarray(jax.jit(from_all)(start, jnp.asarray(actions)), float)
