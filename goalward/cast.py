"""Who acts on a page of the viewer: runs at their checkpoints, and policies that were exported."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from goalward import checkpoint, envs, prng, runs, runtime, training
from goalward.acting import Policy
from goalward.config import from_dict
from goalward.envs import core
from goalward.errors import UserError
from goalward.viewer.player import Acts, Choice


class FromRun:
    """A run, at any of its checkpoints, also of those that it makes meanwhile."""

    def __init__(self, directory: Path, name: str, env_file: Path | None = None):
        self.name, self._directory = name, directory
        config = envs.located(runs.load_config(directory), env_file)
        self._experiment, self._meta = training.build(config), runs.load_meta(directory)
        self.env = self._experiment.eval_env
        self._exploit = jax.jit(training.exploiter(self._experiment))
        self._value = jax.jit(self._experiment.agent.value)
        if not self._saved():
            raise UserError(f"{directory} has no checkpoint yet; wait for its first, or name another run")

    def checkpoints(self) -> list[str]:
        """Name them by the steps that the run had taken, oldest first."""
        config = self._experiment.config
        unit = "updates" if config.is_offline else "environment steps"
        return [f"{config.total_at(saved.state['epoch']):,} {unit}" for saved in self._saved()]

    def load(self, checkpoint: int) -> Acts:
        """The agent at a checkpoint. Raises `UserError` for one that is damaged or gone."""
        saved = self._saved()
        run = training.restore(self._experiment, saved[min(checkpoint, len(saved) - 1)], self._meta)
        agent, calls = run.agent, iter(range(2**32))

        def decide(obs: Any, goal: Any) -> Any:
            return self._exploit(agent, obs, goal, np.uint32(next(calls)))

        return acts(Policy(self.env.spec, decide, self._experiment.agent.chunk), partial(self._value, agent))

    def _saved(self) -> list[checkpoint.Saved]:
        return checkpoint.list_saved(runs.checkpoints(self._directory))


class FromExport:
    """A policy in a folder that `goalward export` wrote."""

    def __init__(self, directory: Path, name: str, env_file: Path | None = None):
        self.name = name
        self._policy = runtime.load(directory)
        settings = directory / runtime.CONFIG
        config = envs.located(from_dict(runs.read_settings(settings), str(settings)), env_file)
        self.env = envs.make(config.eval_env or config.env, config.env_settings)

    def checkpoints(self) -> list[str]:
        """There is one."""
        return [f"{self._policy.card.env_steps:,} environment steps"]

    def load(self, checkpoint: int) -> Acts:
        """The policy."""
        del checkpoint
        return acts(self._policy, self._policy.value if self._policy.has_value else None)


def acts(policy: Policy, value: Callable[[Any, Any], Any] | None) -> Acts:
    """How a policy acts in one world."""
    return Acts(policy.act, policy.reset, value)


def choose(
    directories: Sequence[tuple[str, Path]], env_file: Path | None = None
) -> tuple[core.Env, list[Choice]]:
    """Agents by name, and the environment of the first, in which all of them act.

    Raises `UserError` for a folder with neither a run nor a policy in it, and for agents of other environments.
    """
    found: list[Any] = []
    for name, directory in directories:
        kind = FromExport if (directory / runtime.MANIFEST).is_file() else FromRun
        found.append(kind(directory, name, env_file))
        training.check_alike(found[0].env, found[-1].env, f"the environment of {name},")
    return found[0].env, found


def drawing(env: core.Env, seed: int) -> Callable[[], np.ndarray | None]:
    """Make the function that draws goals as episodes do; it gives None where only a new episode has one."""
    draw = jax.jit(lambda key: core.draw_starts(env, key[None])[1][0])
    keys = iter(range(1, 2**31))

    def another() -> np.ndarray | None:
        if env.commanded is not None:
            return None
        return np.asarray(draw(jax.random.fold_in(prng.key(seed), next(keys))))

    return another
