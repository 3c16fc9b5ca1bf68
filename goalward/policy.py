"""A trained policy, to act with, and runs to look at."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from goalward import checkpoint, envs, files, runs, runtime, shipped
from goalward.acting import Policy
from goalward.errors import UserError
from goalward.evaluation import most_episodes, summarise
from goalward.limits import check_number
from goalward.training import (
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


def load_policy(directory: str | Path, *, best: bool = False, env_file: str | Path | None = None) -> Policy:
    """Load the latest policy of a run directory, or the best one. Raises `UserError` if it has none.

    A folder that `goalward export` wrote has one policy, which acts without JAX, and so has the name of a
    policy of the package, such as "reacher". For `env_file` see `load_experiment`.
    """
    directory = files.named(directory, "directory")
    if shipped.is_one(directory):
        directory = shipped.folder(str(directory))
    if (directory / runtime.MANIFEST).is_file():
        return runtime.load(directory)
    if not directory.exists():
        raise UserError(
            f"{directory} does not exist; name a run, an exported policy, or of the package "
            f"{', '.join(shipped.names())}"
        )
    experiment, run = load_experiment(directory, best=best, env_file=env_file)
    return actor(experiment)(run.agent)


def actor(experiment: Experiment) -> Callable[[Any], Policy]:
    """Make the function of an agent's state to its policy, which is compiled once for all states."""
    exploit = jax.jit(exploiter(experiment))

    def policy_of(agent: Any) -> Policy:
        calls = itertools.count()

        def act(obs: Any, goal: Any) -> Array:
            return exploit(agent, obs, goal, np.uint32(next(calls) % 2**32))

        return Policy(experiment.env.spec, act, experiment.agent.chunk)

    return policy_of


def open_run(directory: Path, env_file: str | Path | None = None) -> tuple[Experiment, runs.Meta]:
    """What a run directory says of a run, built. Raises `UserError` for a directory that is none.

    Where its environment has changed since, a line on standard error says so. An environment from a file of
    code is loaded if a person has named the file here before, as it is now, or names it as `env_file`, wherever
    it is.
    """
    experiment, meta = build(envs.located(runs.load_config(directory), env_file)), runs.load_meta(directory)
    other = other_version(experiment, meta) or other_source(experiment, meta)
    if other:
        sys.stderr.write(f"warning: {directory} {other}; what it does here is not what it learned\n")
    return experiment, meta


def load_experiment(
    directory: str | Path, *, best: bool = False, env_file: str | Path | None = None
) -> tuple[Experiment, Run]:
    """Experiment and state of a run's latest (or best) checkpoint. Raises `UserError` if it has none.

    The run may go on meanwhile. For the rest see `open_run`.
    """
    directory = files.named(directory, "directory")
    experiment, meta = open_run(directory, env_file)
    choose = checkpoint.best if best else checkpoint.latest
    saved = runs.checkpoints(directory)
    return experiment, checkpoint.read(saved, choose, lambda saved: restore(experiment, saved, meta))


def evaluate(
    directory: str | Path,
    *,
    env: str | None = None,
    episodes: int | None = None,
    best: bool = False,
    explore: bool = False,
    env_file: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluate a run's latest (or best) policy, on its own evaluation environment or on `env`.

    Gives what an `Evaluation` holds by name, and beside it what random actions achieve in the same episodes,
    by names that start with `random_`. Starts and goals are those of the run's own evaluations. To `explore`,
    the policy acts as in training, with noise. Raises `UserError` for what does not fit.
    """
    experiment, run = load_experiment(directory, best=best, env_file=env_file)
    if env is not None:
        other = envs.make(envs.asked(env), experiment.config.env_settings)
        check_alike(experiment.env, other, "env")
        experiment = experiment._replace(eval_env=other)
    if episodes is not None:
        check_number("episodes", episodes, 1, most_episodes(experiment.eval_env.spec))
    return figures(experiment, run.agent, episodes, explore=explore)


def figures(
    experiment: Experiment, agent: Any, episodes: int | None = None, *, explore: bool = False
) -> dict[str, Any]:
    """Evaluate an agent's state as `evaluate` does the one of a run."""
    keys = evaluation_keys(experiment.config, episodes)
    table, _ = evaluator(experiment, explore=explore)(agent, keys)
    evaluation = summarise(table, experiment.eval_env.spec.episode_length)
    return evaluation._asdict() | chance_level(experiment)(keys)
