"""What checkpoints say of their critics: distances in a maze, and representations along ways to goals.

What was found is kept in the sweep's folder, by run and iteration: a second look loads no checkpoint.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from goalward import checkpoint, files, runs
from goalward.config import TrainConfig
from goalward.envs.point import to_cells
from goalward.errors import UserError
from goalward.lab import folder as folders
from goalward.lab.axes import Trial
from goalward.lab.study import Part, Study
from goalward.pictures import figures, maps
from goalward.train import Experiment, build, evaluation_keys, evaluator, other_version, restore

FORMAT = 1  # raised whenever something below is computed in another way
MOST_WAYS = 16  # episodes whose representations are looked at
# By measure: what of a look it is.
MEASURES = {
    ("distance_rank", "walking"): "walking",
    ("distance_rank", "straight"): "straight",
    ("effective_rank", None): "effective_rank",
}
FIGURES = {"distance_maps": ("map", "map_ranks"), "embedding": ("way", "path", "shares")}
DISTANCES, WAYS = ("walking", "straight", "map", "map_ranks"), ("effective_rank", "way", "path", "shares")

Look = dict[str, np.ndarray]


def name_of(part: Part) -> str | None:
    """What of a look a measure is; None for one of rows."""
    return MEASURES.get((part.kind, part.options.get("against")))


def needed(study: Study) -> list[str]:
    """What the measures and figures of a study need of looks."""
    measures = [name_of(part) for part in study.measures.values()]
    figures = [name for part in study.figures for name in FIGURES.get(part.kind, ())]
    return list(dict.fromkeys(name for name in [*measures, *figures] if name is not None))


def look(
    folder: Path, trials: Iterable[Trial], names: Sequence[str], tell: Callable[[str], None]
) -> tuple[dict[str, Look], dict[str, str]]:
    """What the latest checkpoints of runs say, by trial, and why some say nothing.

    `names` are of `DISTANCES` and `WAYS`. `tell` hears of each checkpoint that has to be loaded.
    """
    found: dict[str, Look] = {}
    refused: dict[str, str] = {}
    eye: _Eye | None = None
    if not names:
        return found, refused
    # Those of one program follow each other.
    for trial in sorted(trials, key=lambda trial: repr(_settings(trial.config))):
        try:
            saved, key = _latest(folder, trial)
            known = _read(folders.look(folder, trial.name), key)
            if not set(names) <= known.keys():
                tell(trial.name)
                if eye is None or _settings(eye.experiment.config) != _settings(trial.config):
                    eye = _open(trial.config)
                known |= _see(eye, folders.run_directory(folder, trial.name), trial, saved, names)
                _keep(folders.look(folder, trial.name), key, known)
            found[trial.name] = {name: known[name] for name in names}
        except UserError as error:
            refused[trial.name] = str(error)
    return found, refused


def _settings(config: TrainConfig) -> TrainConfig:
    """What programs are compiled for."""
    return replace(config, seed=0)


def _latest(folder: Path, trial: Trial) -> tuple[checkpoint.Saved, str]:
    """The latest checkpoint of a run, and what tells it from any other."""
    directory = folders.run_directory(folder, trial.name)
    saved = checkpoint.latest(runs.checkpoints(directory))
    return saved, f"{FORMAT} {runs.load_meta(directory).id} {saved.iteration}"


def _read(path: Path, key: str) -> Look:
    """What was kept of an earlier look at the same checkpoint; nothing of a file that cannot be read."""
    try:
        with files.open_to_read(path) as file, np.load(file, allow_pickle=False) as kept:
            found = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return {}
    return found if str(found.pop("key", "")) == key else {}


def _keep(path: Path, key: str, found: Look) -> None:
    data = io.BytesIO()
    np.savez_compressed(data, key=np.array(key), **found)  # type: ignore[arg-type]
    path.parent.mkdir(exist_ok=True)
    files.replace(path, data.getvalue())


class _Eye(NamedTuple):
    """Compiled functions of an agent's state."""

    experiment: Experiment  # that of evaluations
    embed: Callable[..., Any]  # (agent, obs (N, D), goals (N, G)) -> φ (N, R)
    episodes: Callable[..., Any]  # (agent, keys (M,)) -> episodes, (states, obs (K, M, D))


def _open(config: TrainConfig) -> _Eye:
    experiment = build(config)
    if experiment.eval_env.maze is None or experiment.eval_env.task is not None:
        raise UserError(f"{experiment.eval_env.name} is no point maze; only of these are checkpoints looked at")
    return _Eye(experiment, jax.jit(experiment.agent.embed), evaluator(experiment, record=True))


def _see(eye: _Eye, directory: Path, trial: Trial, saved: checkpoint.Saved, names: Sequence[str]) -> Look:
    """Load a checkpoint and compute what is asked for."""
    experiment, meta = eye.experiment._replace(config=trial.config), runs.load_meta(directory)
    other = other_version(experiment, meta)
    if other:
        raise UserError(f"{directory} {other}")
    agent = restore(experiment, saved, meta).agent
    eye = eye._replace(experiment=experiment)
    found: Look = {}
    if set(names) & set(DISTANCES):
        found |= distances(experiment._replace(env=experiment.eval_env), agent)
    if set(names) & set(WAYS):
        found |= ways(eye, agent)
    return found


def distances(experiment: Experiment, agent: Any) -> Look:
    """How the learned distances to the goals of evaluations order a maze, and the map of the farthest goal.

    `walking`, `straight`: (), Spearman's rank correlations with the true distances, means over goals.
    `map`: (H, W) at `figures.places`, and its own `map_ranks` (2,).
    """
    maze = figures.maze_of(experiment)
    goals = np.unique(maze.pairs[:, 1], axis=0)
    found = [maps.learned_map("", experiment, agent, goal) for goal in goals]
    walking, straight = np.mean([one.ranks for one in found], axis=0)
    (farthest,) = np.flatnonzero((goals == figures.farthest_goal(maze)).all(axis=1))
    drawn = found[farthest]
    return {
        "walking": walking, "straight": straight,
        "map": drawn.learned.astype(np.float32), "map_ranks": np.array(drawn.ranks),
    }  # fmt: skip


def ways(eye: _Eye, agent: Any) -> Look:
    """Representations φ(s, π(s, g)) along episodes that come to their goals, up to the arrival.

    `effective_rank`: (), the mean over ways, NaN without any. `way`: (T, 2), the two principal components of
    the longest one, `path` (T, 2) its states in cells, and `shares` (2,) of the variance.
    """
    experiment = eye.experiment
    env, maze = experiment.eval_env, figures.maze_of(experiment._replace(env=experiment.eval_env))
    episodes, (_, obs) = eye.episodes(agent, evaluation_keys(experiment.config))
    at_goal = np.asarray(env.spec.success(env.spec.achieved(obs), episodes.goal[None]))  # (K, M)
    obs, goal = np.asarray(obs), np.asarray(episodes.goal)
    chosen = np.flatnonzero(np.asarray(episodes.success) & at_goal.any(axis=0))[:MOST_WAYS]
    seen = []
    for m in chosen:
        states = obs[: at_goal[:, m].argmax() + 1, m]
        phi = np.asarray(eye.embed(agent, *_padded(states, goal[m], len(obs))))[: len(states)]
        seen.append((phi, to_cells(maze, states[:, :2])))
    seen = [(phi, path) for phi, path in seen if len(phi) > 2]
    if not seen:
        nothing = np.zeros((0, 2), np.float32)
        return {"effective_rank": np.array(np.nan), "way": nothing, "path": nothing, "shares": np.zeros(2)}
    phi, path = max(seen, key=lambda one: len(one[0]))
    components, shares = principal(phi)
    ranks = [effective_rank(one) for one, _ in seen]
    return {
        "effective_rank": np.array(np.mean(ranks)),
        "way": components.astype(np.float32), "path": path.astype(np.float32), "shares": shares,
    }  # fmt: skip


def _padded(states: np.ndarray, goal: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """States and their goal in equally many rows for each way: one program serves all."""
    obs = np.concatenate([states, np.repeat(states[-1:], length - len(states), axis=0)])
    return obs, np.broadcast_to(goal, (length, len(goal)))


def effective_rank(rows: np.ndarray) -> float:
    """How many dimensions centred rows (T, R) fill: exp H(p), p their singular values over the sum.

    That is the effective rank of Roy and Vetterli (2007); NaN where all rows are the same.
    """
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    if values.sum() == 0:
        return float("nan")
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (T, R) along their two principal components, (T, 2), and the shares of the variance, (2,).

    The sign of each is such that its last row is not below its first: equal rows give equal pictures.
    """
    u, values, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = np.zeros((len(rows), 2))
    found[:, : min(2, len(values))] = (u * values)[:, :2]
    signs = np.where(found[-1] < found[0], -1, 1)
    variance = np.zeros(2)
    variance[: min(2, len(values))] = (values**2)[:2] / max(float((values**2).sum()), 1e-30)
    return found * signs, variance


def scalars(looks: Mapping[str, Look], name: str) -> dict[str, float]:
    """One number of each look; those that could not be found are left out."""
    return {trial: float(found[name]) for trial, found in looks.items() if np.isfinite(found[name])}
