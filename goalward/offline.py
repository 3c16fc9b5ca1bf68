"""Learning without acting: what a run's dataset names, and the replay that it fills once.

All rows lie in one world of the ring, in the order of the file. So the sampler draws from them as from what was
collected: no row is another one's future but within its trajectory, none is made up to fill a ring, and random
goals are of the whole dataset.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from goalward import checkpoint, data, minari_data, runs
from goalward.agents import Agent
from goalward.config import ActorCriticConfig, TrainConfig
from goalward.config.dataset import MINARI
from goalward.data import Rows
from goalward.errors import UserError
from goalward.replay import Replay
from goalward.types import EnvSpec, Trajectory


class Dataset(NamedTuple):
    """What a run learns from."""

    rows: Rows
    sha256: str  # of its files


def load(config: TrainConfig, spec: EnvSpec, agent: Agent) -> Dataset:
    """Read the dataset of a run. Raises `UserError` for what is not there or does not fit."""
    rows, digest = _read(_name(config))
    if config.dataset_rows is not None:
        rows = data.first_rows(rows, config.dataset_rows)
    rows = data.without_single(rows)
    data.check(rows, spec._asdict(), discrete=spec.discrete, name=_name(config), env=config.env)
    _check_goals(rows, config, agent)
    return Dataset(rows, digest)


def _name(config: TrainConfig) -> str:
    if config.dataset is None:
        raise TypeError("the run has no dataset")
    return config.dataset


def _read(name: str) -> tuple[Rows, str]:
    """Rows and hash of what a name stands for."""
    if name.startswith(MINARI):
        return minari_data.read(name.removeprefix(MINARI))
    if runs.is_run(Path(name)):
        return of_run(Path(name))
    paths = data.paths(name)
    return data.join([data.read(path) for path in paths]), data.sha256(paths)


def count(config: TrainConfig) -> int:
    """How many rows a run's dataset has at most, as far as they are used: by the heads of its files."""
    name = _name(config)
    if name.startswith(MINARI):
        number = minari_data.count(name.removeprefix(MINARI))
    elif runs.is_run(Path(name)):
        number = _most_of_run(Path(name))
    else:
        number = sum(map(data.count, data.paths(name)))
    return number if config.dataset_rows is None else min(number, config.dataset_rows)


def of_run(directory: Path, *, best: bool = False) -> tuple[Rows, str]:
    """What the replay of a run's latest (or best) checkpoint holds, and a hash of the file it is in.

    Raises `UserError` where there is none, and for a run that had a dataset itself.
    """
    settings = runs.load_config(directory)
    if settings.is_offline:
        raise UserError(f"{directory} learned from {settings.dataset} and collected nothing; name that")

    def read(saved: checkpoint.Saved) -> tuple[Rows, str]:
        checkpoint.check_run(saved, runs.load_meta(directory).id)
        found, digest = checkpoint.arrays_under(saved, "replay.")
        rows = {name.removeprefix("rows."): leaf for name, leaf in found.items() if name.startswith("rows.")}
        return data.of_ring(rows, int(found["inserted"])), digest

    return checkpoint.read(runs.checkpoints(directory), checkpoint.best if best else checkpoint.latest, read)


def _most_of_run(directory: Path) -> int:
    """How many rows the replay of a run's latest checkpoint holds."""

    def read(saved: checkpoint.Saved) -> int:
        capacity, worlds = checkpoint.arrays_under(saved, "replay.rows.first")[0][""].shape
        inserted = checkpoint.arrays_under(saved, "replay.inserted")[0][""]
        return worlds * min(capacity, int(inserted))

    return checkpoint.read(runs.checkpoints(directory), checkpoint.latest, read)


def _check_goals(rows: Rows, config: TrainConfig, agent: Agent) -> None:
    """Raise `UserError` where an agent trains on commanded goals, and the dataset has none."""
    if rows.goal is not None:
        return
    told = f"but {config.dataset} does not say which goals were commanded"
    its = config.agent
    if isinstance(its, ActorCriticConfig) and its.actor_commanded_goals:
        raise UserError(
            f"actor_commanded_goals is {its.actor_commanded_goals}, {told}; use --actor-commanded-goals 0"
        )
    if agent.relabel.commanded:
        raise UserError(
            f"a share {agent.relabel.commanded:.3g} of the goals are commanded ones, {told}; use --her-share 1"
        )


def check_same(dataset: Dataset, config: TrainConfig, meta: runs.Meta) -> None:
    """Raise `UserError` where the run of `meta` has begun with other data."""
    if dataset.sha256 != meta.dataset_sha256:
        raise UserError(
            f"{config.dataset} has changed since the run began to learn from it: its SHA-256 is "
            f"{dataset.sha256}, and was {meta.dataset_sha256}; put back what it was, or train anew"
        )


def ring(rows: Rows, spec: EnvSpec) -> Replay:
    """A replay that holds just these rows, in one world."""
    number = len(rows.last)
    ends = np.flatnonzero(rows.last)
    last = ends[np.searchsorted(ends, np.arange(number))]
    goal = np.full((number, spec.goal_dim), np.nan, np.float32) if rows.goal is None else rows.goal
    leaves = rows.obs, rows.action, goal, rows.first, rows.failed
    held = Trajectory(*(_one_world(leaf) for leaf in leaves))
    return Replay(held, _one_world(last.astype(np.int32)), jnp.int32(number))


def _one_world(leaf: np.ndarray) -> Array:
    """Leaves (M, …) as (M, 1, …), on the device."""
    return jnp.asarray(np.expand_dims(leaf, 1))


def notes(config: TrainConfig) -> Iterator[str]:
    """What to say of a run that learns from a dataset: whose data it is, and what holds the actor to it."""
    name = _name(config)
    others = sorted(each for each in _environments(name) if Path(each).name != Path(config.env).name)
    if others:
        yield f"note: {name} was recorded in {' and '.join(others)}; this run learns {config.env} from it"
    if isinstance(config.agent, ActorCriticConfig) and not config.agent.bc_weight:
        yield (
            "note: bc_weight is 0: where the data show few actions, an actor does what its critic is wrong "
            "about; --bc-weight 1 --actor-random-goals 0 hold it to the data (docs/data.md)"
        )


def _environments(name: str) -> set[str]:
    """The environments that a dataset says it is of."""
    if name.startswith(MINARI):
        return set()
    if runs.is_run(Path(name)):
        return {runs.load_config(Path(name)).env}
    return {env for path in data.paths(name) if (env := data.environment(path))}
