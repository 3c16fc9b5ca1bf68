"""Rows of a run, to write as a dataset: what its replay holds, or fresh episodes of its policy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from goalward import data, offline, policy, prng, runs, training
from goalward.config import agent_name
from goalward.data import Rows
from goalward.envs import core
from goalward.evaluation import most_episodes
from goalward.limits import SEEDS, check_number
from goalward.rollout import Act, compiled, nothing_pending, starter, unroller
from goalward.types import Trajectory

WORLDS = 128  # side by side; more episodes come in rounds
DATASET_STREAM = 0x64617461  # keys of fresh episodes: neither training nor evaluations draw them


def about(directory: Path, **what: Any) -> dict[str, Any]:
    """Where the rows of a run are from, for whoever finds the file."""
    config = runs.load_config(directory)
    names = {"env": config.env, "env_settings": dict(config.env_settings), "agent": agent_name(config.agent)}
    return {**names, "env_version": runs.load_meta(directory).env_version, "seed": config.seed, **what}


def replay(directory: Path, *, best: bool = False) -> Rows:
    """What the replay of a run's latest (or best) checkpoint holds, without trajectories of one row."""
    return offline.of_run(directory, best=best)[0]


def episodes(
    directory: Path,
    number: int,
    *,
    explore: bool = False,
    best: bool = False,
    seed: int = 0,
    env_file: Path | None = None,
) -> Rows:
    """Fresh episodes of a run's policy in the environment that it was trained on.

    It acts as in evaluations, one goal an episode; to `explore`, as in training, where goals may change too.
    """
    experiment, run = policy.load_experiment(directory, best=best, env_file=env_file)
    spec, config = experiment.env.spec, experiment.config
    check_number("episodes", number, 1, most_episodes(spec))
    check_number("seed", seed, *SEEDS)
    act = _exploring(experiment) if explore else _exploiting(experiment)
    worlds = min(number, WORLDS)
    record = recorder(experiment.env, act, config.steps_per_goal if explore else None, experiment.agent.chunk)
    root, found = jax.random.fold_in(prng.key(seed), DATASET_STREAM), []
    for turn in range(-(-number // worlds)):
        start, acting = jax.random.split(jax.random.fold_in(root, turn))
        steps = jax.random.split(acting, spec.episode_length + 1)
        rows = record(run.agent, jax.random.split(start, worlds), steps)
        found.append(_first_episodes(rows, number - turn * worlds))
    return data.without_single(data.join(found))


def _exploiting(experiment: training.Experiment) -> Act:
    exploit = training.exploiter(experiment)
    return lambda agent, obs, goal, one: exploit(agent, obs, goal, one[0])


def _exploring(experiment: training.Experiment) -> Act:
    return lambda agent, obs, goal, one: experiment.agent.act(agent, obs, goal, one[1])


def recorder(
    env: core.Env, act: Act, steps_per_goal: int | None = None, chunk: int = 1
) -> Callable[[Any, Array, Array], Rows]:
    """Make the function of (context, keys (N,), keys of steps (K + 1,)) that records one episode per key.

    `act` is given the number of the step and its key. Of a task on MuJoCo, qpos and qvel are recorded too.
    """

    def turn(worlds: core.Worlds, obs: Array, action: Array, one: Any) -> tuple[core.Order, Any]:
        row = Trajectory(obs, action, worlds.goal, worlds.steps == 0, worlds.terminated)
        physics = (worlds.state.physics.qpos, worlds.state.physics.qvel) if env.task is not None else ()
        return core.order_once(env, worlds, action), (row, worlds.steps == one[0], physics)

    start, unroll = starter(env), unroller(env, act, chunk, turn, steps_per_goal)

    def run(context: Any, keys: Array, steps: Array) -> Any:
        pending = nothing_pending(env, keys.shape[0], chunk)
        return unroll(context, start(keys), pending, (jnp.arange(steps.shape[0]), steps))[2]

    run = compiled(env, run)
    return lambda *given: _rows(*jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1), run(*given)))


def _rows(row: Trajectory, goes_on: np.ndarray, physics: Any) -> Rows:
    """Rows from records (N, T, …), up to the end of each world's episode."""
    last = goes_on.copy()
    last[:, :-1] &= ~goes_on[:, 1:]
    qpos, qvel = physics or (None, None)
    leaves = (row.obs, row.action, last, row.terminated, row.goal, qpos, qvel)
    return Rows._make(None if leaf is None else leaf[goes_on] for leaf in leaves)


def _first_episodes(rows: Rows, number: int) -> Rows:
    ends = np.flatnonzero(rows.last)
    return data.first_rows(rows, int(ends[min(number, len(ends)) - 1]) + 1)
