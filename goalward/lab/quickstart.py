"""The quickstart: the U-maze from scratch, with a table and pictures of what was learned."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from goalward import machine, presets, prng, runs
from goalward.config import TrainConfig, from_dict
from goalward.evaluation import summarise
from goalward.limits import SEEDS
from goalward.pictures import figures
from goalward.policy import load_experiment
from goalward.progress import print_evaluation, print_summary, show
from goalward.training import Experiment, Run, chance_level, evaluator, train

TIME_LIMIT = 150.0  # seconds of training, compilation included
TARGET = 0.99  # success rate of an evaluation that ends training early
EPISODES = 256  # of the final evaluation, with starts and goals that no evaluation before had
TRACKS = 48  # episodes in the pictures
SUMMED_UP = ("success_rate", "time_at_goal", "random_success_rate", "random_time_at_goal")
NEXT = {  # words of commands, and what they are for
    ("train", "arm_reach", "--out", "runs/reach"): "an arm learns to reach any point",
    ("envs",): "all that can be learned",
}
PICTURES = ("learning_curve.png", "distance.png", "trajectories.png", "animation.gif")


def config(seed: int) -> TrainConfig:
    """Settings of the quickstart."""
    return replace(from_dict(presets.load("quickstart"), "preset quickstart"), seed=seed)


def run(
    directory: Path, seed: int, *, quiet: bool = False, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Train until the maze is solved or the time is over, evaluate and draw; returns what summary.json holds.

    Raises `UserError` if `directory` holds something other than an earlier quickstart.
    """
    settings = config(seed)
    _clear(directory, settings)
    begun = time.monotonic()

    def enough() -> bool:
        return should_stop() or _is_solved(directory) or time.monotonic() - begun > TIME_LIMIT

    show(train(settings, directory, should_stop=enough), settings, directory, quiet=quiet)
    if should_stop():
        raise KeyboardInterrupt
    with runs.lock(directory):  # another quickstart must not replace what this one draws
        evaluation, state = _evaluate_and_draw(directory, seed)
        summary = {
            **{name: evaluation[name] for name in SUMMED_UP},
            "seconds": round(time.monotonic() - begun, 1),
            "env_steps": int(state.env_steps),
            "updates": int(state.updates),
        }
        runs.save_summary(directory, summary)
    if not quiet:
        print_evaluation(evaluation, f"{settings.env}, {EPISODES} new episodes")
        commands = [f"{machine.command(*words)}  # {what}" for words, what in NEXT.items()]
        print_summary(summary, [directory / name for name in PICTURES], commands)
    return summary


def _evaluate_and_draw(directory: Path, seed: int) -> tuple[dict[str, Any], Run]:
    """Evaluate the latest policy, and random actions, on starts and goals of their own; draw what it did."""
    experiment, run = load_experiment(directory)
    keys = jax.random.split(prng.key((seed + 1) % (SEEDS[1] + 1)), EPISODES)
    episodes, (_, obs) = evaluator(experiment, record=True)(run.agent, keys)
    _draw(directory, experiment, run.agent, np.asarray(obs[:, :TRACKS]), np.asarray(episodes.goal[:TRACKS]))
    evaluation = summarise(episodes, experiment.env.spec.episode_length)._asdict()
    return evaluation | chance_level(experiment)(keys), run


def _clear(directory: Path, settings: TrainConfig) -> None:
    """Remove an earlier quickstart, and nothing else. Raises `UserError` while it is still running."""
    if runs.is_run(directory) and replace(runs.load_config(directory), seed=settings.seed) == settings:
        runs.clear(directory)


def _is_solved(directory: Path) -> bool:
    return any(row["success_rate"] >= TARGET for row in runs.read_metrics(directory)[-1:])


def _draw(directory: Path, experiment: Experiment, agent: Any, obs: np.ndarray, goals: np.ndarray) -> None:
    maze = figures.maze_of(experiment)
    curve, distance, tracks, moving = (runs.picture(directory, name) for name in PICTURES)
    figures.learning_curve(runs.read_metrics(directory), curve)
    near, far = maze.pairs[0, 1], figures.farthest_goal(maze)
    figures.distance_map(experiment, agent, [near, far], distance)
    figures.trajectories(maze, obs, goals, tracks)
    figures.animation(maze, obs, goals, moving)
