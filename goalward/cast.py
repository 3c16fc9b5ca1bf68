"""Who acts on a page of the viewer: runs at their checkpoints, and policies that were exported."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from goalward import checkpoint as saving
from goalward import envs, policy, prng, runs, runtime, training
from goalward.acting import Policy
from goalward.config import from_dict
from goalward.envs import core
from goalward.errors import UserError
from goalward.viewer.player import Acts, Choice
from goalward.world import World


class FromRun:
    """A run, at any of its checkpoints, also of those that it makes meanwhile."""

    def __init__(self, directory: Path, name: str, env_file: Path | None = None):
        self.name, self._directory = name, directory
        self._experiment, self._meta = policy.open_run(directory, env_file)
        self.env = self._experiment.eval_env
        self._policy = policy.actor(self._experiment)
        self._value = jax.jit(self._experiment.agent.value)

    def checkpoints(self) -> list[str]:
        """Name them by the steps that the run had taken, oldest first. Raises `UserError` if there is none."""
        names = [name for name in map(self._name, self._saved()) if name]
        if not names:
            raise UserError(f"{self._directory} has no checkpoint; wait for its first, or name another run")
        return names

    def load(self, checkpoint: str) -> Acts:
        """The agent at a checkpoint. Raises `UserError` for one that is damaged or gone."""

        def choose(_: Path) -> saving.Saved:
            found = [saved for saved in self._saved() if self._name(saved) == checkpoint]
            if not found:
                raise UserError(f"the checkpoint after {checkpoint} is gone")
            return found[0]

        def restore(saved: saving.Saved) -> training.Run:
            return training.restore(self._experiment, saved, self._meta)

        agent = saving.read(runs.checkpoints(self._directory), choose, restore).agent
        return acts(self._policy(agent), partial(self._value, agent))

    def _saved(self) -> list[saving.Saved]:
        return saving.list_saved(runs.checkpoints(self._directory))

    def _name(self, saved: saving.Saved) -> str | None:
        """None for one whose state cannot be read, as of one that is being removed."""
        config, epoch = self._experiment.config, saved.state.get("epoch")
        if type(epoch) is not int or not 0 <= epoch <= config.epochs:
            return None
        return f"{config.total_at(epoch):,} {'updates' if config.is_offline else 'environment steps'}"


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

    def load(self, checkpoint: str) -> Acts:
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

    Raises `UserError` for a folder with neither a run nor a policy in it, and for agents that cannot act there.
    """
    found: list[Any] = []
    for name, directory in directories:
        kind = FromExport if (directory / runtime.MANIFEST).is_file() else FromRun
        found.append(kind(directory, name, env_file))
        training.check_alike(found[0].env, found[-1].env, f"the environment of {name},")
    return found[0].env, found


def some_goals(world: World, episodes: int = 16) -> np.ndarray:
    """Goals (K, G) that are commanded, or achieved at the start, in some episodes of a world."""
    found = []
    for _ in range(episodes):
        world.reset()
        found += [world.goal, world.achieved]
    return np.stack(found)


def drawing(env: core.Env, seed: int) -> Callable[[], np.ndarray | None]:
    """Make the function that draws goals as episodes do; it gives None where only a new episode has one."""
    draw = jax.jit(lambda key: core.draw_starts(env, key[None])[1][0])
    keys = iter(range(1, 2**31))

    def another() -> np.ndarray | None:
        if env.commanded is not None or env.follow is not None:
            return None
        return np.asarray(draw(jax.random.fold_in(prng.key(seed), next(keys))))

    return another
