"""A run directory as an object: its settings, what was measured, its policy and its rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from goalward import envs, files, policy, recorded, runs
from goalward.acting import Policy
from goalward.config import TrainConfig
from goalward.data import Rows
from goalward.errors import UserError
from goalward.world import World


@dataclass(frozen=True)
class SavedRun:
    """A run on disk. What it learned is read at each call, from its latest checkpoint or its best one."""

    directory: Path
    config: TrainConfig = field(repr=False)
    best: bool = False
    """Whether the best checkpoint is meant, not the latest."""
    env_file: Path | None = field(default=None, repr=False)
    """Where the file of its environment is, if that is a person's own and elsewhere now."""

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """What was measured, by name, a number for each evaluation so far; NaN where one lacks it."""
        rows = runs.read_metrics(self.directory)
        names = dict.fromkeys(
            name for row in rows for name, value in row.items() if not isinstance(value, list)
        )
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}

    def policy(self) -> Policy:
        """What it learned, to act with."""
        return policy.load_policy(self.directory, best=self.best, env_file=self.env_file)

    def world(self) -> World:
        """One world of its environment, with its settings."""
        return World(envs.make(self.config.env, self.config.env_settings))

    def evaluate(
        self, *, env: str | None = None, episodes: int | None = None, explore: bool = False
    ) -> dict[str, Any]:
        """Evaluate its policy, as `goalward.evaluate` does."""
        options: dict[str, Any] = {"best": self.best, "explore": explore, "env_file": self.env_file}
        return policy.evaluate(self.directory, env=env, episodes=episodes, **options)

    def trajectories(self, episodes: int | None = None, *, explore: bool = False, seed: int = 0) -> Rows:
        """Rows that its replay holds, or of fresh episodes of its policy; to `explore`, as in training."""
        if episodes is None and (explore or seed):
            raise UserError("explore and seed are of fresh episodes; give how many as `episodes`")
        if episodes is None:
            return recorded.replay(self.directory, best=self.best)
        options: dict[str, Any] = {"best": self.best, "seed": seed, "env_file": self.env_file}
        return recorded.episodes(self.directory, episodes, explore=explore, **options)


def load_run(directory: str | Path, *, best: bool = False, env_file: str | Path | None = None) -> SavedRun:
    """Open a run directory. Raises `UserError` if it is none. For `env_file` see `policy.load_experiment`."""
    directory = files.named(directory, "directory")
    config = envs.located(runs.load_config(directory), env_file)
    return SavedRun(directory, config, best, None if env_file is None else Path(env_file))
