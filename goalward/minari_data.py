"""Datasets of Minari, read and written where it is installed (the extra `minari`).

An episode of K steps has K + 1 observations and K actions there; the action of its last row here is 0.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from goalward import data
from goalward.data import Rows
from goalward.errors import UserError

# Keys of observations that tell the goal too, as Gymnasium's environments with goals have them.
OBSERVATION, ACHIEVED, DESIRED = "observation", "achieved_goal", "desired_goal"


def _minari() -> Any:
    try:
        return import_module("minari")
    except ImportError as error:
        raise UserError(
            f"Minari cannot be loaded ({error}); install the extra minari: pip install 'goalward[minari]'"
        ) from error


def _load(name: str) -> Any:
    """A dataset by its name. Raises `UserError` where it is not on this machine."""
    try:
        return _minari().load_dataset(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"Minari has no dataset {name!r} on this machine ({' '.join(str(error).split())}); "
            f"`minari list local` lists them"
        ) from error


def read(name: str) -> tuple[Rows, str]:
    """All rows of a dataset, and a hash of its files."""
    dataset = _load(name)
    parts = [_rows(name, episode) for episode in dataset.iterate_episodes()]
    if not parts:
        raise UserError(f"Minari's dataset {name} has no episode; name another one")
    folder = Path(dataset.storage.data_path)
    return data.join(parts), data.sha256(sorted(path for path in folder.rglob("*") if path.is_file()))


def count(name: str) -> int:
    """How many rows a dataset has."""
    dataset = _load(name)
    return int(dataset.total_steps) + int(dataset.total_episodes)


def _rows(name: str, episode: Any) -> Rows:
    seen, goal = episode.observations, None
    if isinstance(seen, dict):
        if OBSERVATION not in seen:
            raise UserError(f"Minari's dataset {name} has no {OBSERVATION!r} among its observations")
        seen, goal = seen[OBSERVATION], seen.get(DESIRED)
    taken = np.asarray(episode.actions, np.float32)
    if taken.ndim != 2:
        raise UserError(f"Minari's dataset {name} has actions of the shape {taken.shape[1:]}, not vectors")
    ends = np.zeros(len(seen), bool)
    ends[-1] = True
    arrays = {
        data.OBSERVATIONS: seen,
        data.ACTIONS: np.concatenate([taken, np.zeros_like(taken[:1])]),
        data.TERMINALS: ends,
        data.FAILURES: ends & bool(episode.terminations[-1]),
        data.GOALS: goal,
    }
    try:
        return data.make(arrays)
    except ValueError as error:
        raise UserError(f"Minari's dataset {name}: {error}; name another one") from error


def write(
    name: str, rows: Rows, about: str, achieved: Callable[[Any], Any], success: Callable[[Any, Any], Any]
) -> None:
    """Write a dataset of this name, with the reward 1 for each step that leads to its goal, else 0.

    `achieved` gives the goals that observations are at, `success` says whether goals are reached. Raises
    `UserError` for a name that is taken or cannot be.
    """
    minari, spaces = _minari(), import_module("gymnasium.spaces")
    if rows.goal is None:
        raise TypeError("rows have no goals")
    at = np.asarray(achieved(rows.obs))
    reached = np.asarray(success(at, rows.goal))
    buffer_of = import_module("minari.data_collector").EpisodeBuffer
    ends = np.flatnonzero(rows.last) + 1
    episodes = [
        _episode(buffer_of, rows, at, reached, slice(begin, end))
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]

    def box(width: int, most: float = np.inf) -> Any:
        return spaces.Box(-most, most, (width,), np.float32)

    seen = {OBSERVATION: rows.obs.shape[1], ACHIEVED: at.shape[1], DESIRED: rows.goal.shape[1]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an author and other entries that this dataset does without
            minari.create_dataset_from_buffers(
                name, episodes, observation_space=spaces.Dict({key: box(width) for key, width in seen.items()}),
                action_space=box(rows.action.shape[1], 1.0), algorithm_name="goalward", description=about,
            )  # fmt: skip
    except (ValueError, OSError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"minari is {name!r}, but Minari refuses it ({told}); choose another name") from error


def _episode(buffer_of: Any, rows: Rows, at: np.ndarray, reached: np.ndarray, part: slice) -> Any:
    steps = slice(part.start, part.stop - 1)
    following = slice(part.start + 1, part.stop)
    failed = rows.failed[following]
    assert rows.goal is not None  # noqa: S101  # `write` looked
    return buffer_of(
        observations={OBSERVATION: rows.obs[part], ACHIEVED: at[part], DESIRED: rows.goal[part]},
        actions=rows.action[steps],
        rewards=list(reached[following].astype(np.float32)),
        terminations=list(failed),
        truncations=list(rows.last[following] & ~failed),
    )
