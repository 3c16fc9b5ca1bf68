"""A trained policy, to act with."""

import itertools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from goalward import checkpoint, envs, runs
from goalward.errors import UserError
from goalward.evaluate import most_episodes, summarise
from goalward.limits import check_number
from goalward.train import (
    Experiment,
    Run,
    build,
    chance_level,
    check_alike,
    evaluation_keys,
    evaluator,
    exploiter,
    other_source,
    other_version,
    restore,
)
from goalward.types import EnvSpec


class Policy:
    """What a run learned to do: action = tanh(mean of π(· | obs, goal)), or one of some choices, one-hot.

    Where it decides on `chunk` = H > 1 actions at a time, `act` gives one a call: it remembers the rest, and
    looks at its inputs again after H calls. Then `reset` belongs before the first step of each episode.
    """

    def __init__(self, spec: EnvSpec, function: Callable[[Any, Any], Any], chunk: int = 1):
        self.spec, self.chunk = spec, chunk
        self._function = function  # (obs (N, D), goal (N, G)) -> (N, H·A)
        self._actions = np.zeros((0, chunk, spec.action_dim), np.float32)  # of each row's chunk
        self._taken = np.zeros(0, int)  # how many of them; no rows before the first call

    def reset(self, rows: ArrayLike | bool | None = None) -> None:
        """Forget the rest of chunks: of all rows, or of those whose episodes start anew, where `rows` is true.

        Without `rows` the next call may have another number of them. Raises `UserError` if it is not (N,) bool.
        """
        if rows is None:
            self._taken = self._taken[:0]
        elif len(self._taken):
            anew = np.atleast_1d(np.asarray(rows))
            if anew.dtype != bool or anew.shape != self._taken.shape:
                raise UserError(f"rows is {anew.dtype} {anew.shape}; it must be bool ({len(self._taken)},)")
            self._taken = np.where(anew, self.chunk, self._taken)

    def act(self, obs: ArrayLike, goal: ArrayLike) -> np.ndarray:
        """Action (A,) for an observation (D,) and a goal (G,), or (N, A) for (N, D) and (N, G).

        Raises `UserError` for other shapes, and for another number of rows than before in the midst of chunks.
        """
        obs, goal = np.asarray(obs, np.float32), np.asarray(goal, np.float32)
        for name, value, size in (("obs", obs, self.spec.obs_dim), ("goal", goal, self.spec.goal_dim)):
            if value.ndim not in (1, 2) or value.shape[-1] != size:
                raise UserError(f"{name} has shape {value.shape}; it must be ({size},) or (N, {size})")
        if obs.shape[:-1] != goal.shape[:-1]:
            raise UserError(f"obs and goal must come in equal numbers, not as {obs.shape} and {goal.shape}")
        rows = np.atleast_2d(obs), np.atleast_2d(goal)
        action = self._function(*rows) if self.chunk == 1 else self._next(*rows)
        return np.asarray(action).reshape(*obs.shape[:-1], self.spec.action_dim)

    def _next(self, obs: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """The next action of each row's chunk, (N, A); where one is over, the first of a new one."""
        number = len(obs)
        if not len(self._taken):
            self._actions = np.zeros((number, *self._actions.shape[1:]), np.float32)
            self._taken = np.full(number, self.chunk)
        if len(self._taken) != number:
            raise UserError(
                f"obs has {number} rows, but the last call had {len(self._taken)}, which are within chunks of "
                f"{self.chunk} actions; call reset() first"
            )
        due = self._taken == self.chunk
        if due.any():
            new = np.asarray(self._function(obs, goal)).reshape(self._actions.shape)
            self._actions = np.where(due[:, None, None], new, self._actions)
            self._taken = np.where(due, 0, self._taken)
        self._taken = self._taken + 1
        return self._actions[np.arange(number), self._taken - 1]


def load_policy(directory: str | Path, *, best: bool = False, env_file: str | Path | None = None) -> Policy:
    """Load the latest policy of a run directory, or the best one. Raises `UserError` if it has none.

    For `env_file` see `load_run`.
    """
    experiment, run = load_run(directory, best=best, env_file=env_file)
    calls, exploit = itertools.count(), jax.jit(partial(exploiter(experiment), run.agent))

    def act(obs: Any, goal: Any) -> Array:
        return exploit(obs, goal, np.uint32(next(calls)))

    return Policy(experiment.env.spec, act, experiment.agent.chunk)


def load_run(
    directory: str | Path, *, best: bool = False, env_file: str | Path | None = None
) -> tuple[Experiment, Run]:
    """Experiment and state of a run's latest (or best) checkpoint. Raises `UserError` if it has none.

    The run may go on meanwhile. Where its environment has changed since, a line on standard error says so.
    An environment from a file of code is loaded if a person has named the file here before, as it is now, or
    names it as `env_file`, wherever it is.
    """
    directory = Path(directory)
    config = envs.located(runs.load_config(directory), env_file)
    experiment, meta = build(config), runs.load_meta(directory)
    other = other_version(experiment, meta) or other_source(experiment, meta)
    if other:
        sys.stderr.write(f"warning: {directory} {other}; what it does here is not what it learned\n")
    choose = checkpoint.best if best else checkpoint.latest
    saved = runs.checkpoints(directory)
    return experiment, checkpoint.read(saved, choose, lambda saved: restore(experiment, saved, meta))


def evaluate(
    directory: str | Path,
    *,
    env: str | None = None,
    episodes: int | None = None,
    best: bool = False,
    env_file: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluate a run's latest (or best) policy, on its own evaluation environment or on `env`.

    Gives what an `Evaluation` holds by name, and beside it what random actions achieve in the same episodes,
    by names that start with `random_`. Starts and goals are those of the run's own evaluations. Raises
    `UserError` for what does not fit.
    """
    experiment, run = load_run(directory, best=best, env_file=env_file)
    if env is not None:
        other = envs.make(envs.asked(env), experiment.config.env_settings)
        check_alike(experiment.env, other, "env")
        experiment = experiment._replace(eval_env=other)
    if episodes is not None:
        check_number("episodes", episodes, 1, most_episodes(experiment.eval_env.spec))
    keys = evaluation_keys(experiment.config, episodes)
    table, _ = evaluator(experiment)(run.agent, keys)
    evaluation = summarise(table, experiment.eval_env.spec.episode_length)
    return evaluation._asdict() | chance_level(experiment)(keys)
