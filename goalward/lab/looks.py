"""What checkpoints say of their critics: distances in a maze, and representations along ways to goals.

What was found is kept in the sweep's folder, by run and iteration: a second look loads no checkpoint.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from goalward import checkpoint, files, runs
from goalward.config import TrainConfig
from goalward.errors import UserError
from goalward.lab import folder as folders
from goalward.lab.axes import Trial
from goalward.lab.study import Part, Study
from goalward.pictures import carrying, choosing, embedding, figures, maps
from goalward.training import Experiment, build, other_version, restore

FORMAT = 1  # raised whenever something below is computed in another way
# By measure: what of a look it is.
MEASURES = {
    ("distance_rank", "walking"): "walking",
    ("distance_rank", "straight"): "straight",
    ("action_rank", None): "actions",
    ("right_way", None): "right_way",
    ("greedy_score", None): "greedy",
    ("effective_rank", None): "effective_rank",
    ("steps_rank", None): "steps",
}
FIGURES = {"distance_maps": ("map", "map_ranks"), "embedding": ("way", "arrived", "effective_rank")}
DISTANCES, WAYS = ("walking", "straight", "map", "map_ranks"), ("effective_rank", "way", "arrived")
ACTIONS, STEPS = ("actions", "right_way", "greedy"), ("steps",)

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

    `names` are of `DISTANCES`, `ACTIONS`, `WAYS` and `STEPS`. `tell` hears of each checkpoint that has to be
    loaded.
    """
    found: dict[str, Look] = {}
    refused: dict[str, str] = {}
    experiment: Experiment | None = None
    if not names:
        return found, refused
    for trial in sorted(trials, key=lambda trial: repr(_settings(trial.config))):
        try:
            saved, key = _latest(folder, trial)
            known = _read(folders.look(folder, trial.name), key)
            if not set(names) <= known.keys():
                tell(trial.name)
                if experiment is None or _settings(experiment.config) != _settings(trial.config):
                    experiment = _open(trial.config, names)
                experiment = experiment._replace(config=trial.config)
                known |= _see(experiment, folders.run_directory(folder, trial.name), saved, names)
                _keep(folders.look(folder, trial.name), key, known)
            found[trial.name] = {name: known[name] for name in names}
        except UserError as error:
            refused[trial.name] = str(error)
    return found, refused


def _settings(config: TrainConfig) -> TrainConfig:
    """All but the seed: runs that share it share the functions that are compiled."""
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
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return {}
    return found if str(found.pop("key", "")) == key else {}


def _keep(path: Path, key: str, found: Look) -> None:
    data = io.BytesIO()
    np.savez_compressed(data, key=np.array(key), **found)  # type: ignore[arg-type]
    with suppress(OSError):  # a full disk, or the sweep of someone else: it is computed again next time
        path.parent.mkdir(exist_ok=True)
        files.replace(path, data.getvalue())


def _open(config: TrainConfig, names: Sequence[str]) -> Experiment:
    experiment = build(config)
    env = experiment.eval_env
    for of_kind, there, kind in (
        ((*DISTANCES, *ACTIONS, *WAYS), env.maze is not None and env.task is None, "point maze"),
        (STEPS, env.cells is not None, "grid with boxes"),
    ):
        asked = [name for name in names if name in of_kind]
        if asked and not there:
            raise UserError(f"{env.name} is no {kind}, so its checkpoints have no {' and no '.join(asked)}")
    return experiment


def _see(experiment: Experiment, directory: Path, saved: checkpoint.Saved, names: Sequence[str]) -> Look:
    """Load a checkpoint and compute what is asked for."""
    meta = runs.load_meta(directory)
    other = other_version(experiment, meta)
    if other:
        raise UserError(f"{directory} {other}")
    agent = restore(experiment, saved, meta).agent
    evaluated = experiment._replace(env=experiment.eval_env)  # mazes are looked at as evaluations are in them
    found: Look = {}
    if set(names) & set(DISTANCES):
        found |= distances(evaluated, agent)
    if "greedy" in names:
        found["greedy"] = np.array(choosing.greedy_score(evaluated, agent))
    if "actions" in names:
        found["actions"] = np.array(choosing.action_rank(evaluated, agent))
    if "right_way" in names:
        found["right_way"] = np.array(choosing.right_way(evaluated, agent))
    if set(names) & set(WAYS):
        found |= ways(experiment, agent)
    if set(names) & set(STEPS):
        found["steps"] = np.array(carrying.steps_rank(experiment, agent))
    return found


def distances(experiment: Experiment, agent: Any) -> Look:
    """How the learned distances to the goals of evaluations order a maze, and the map of the farthest goal.

    `walking`, `straight`: (), Spearman's rank correlations with the true distances, means over goals.
    `map`: (H, W) at `figures.places`, and its own `map_ranks` (2,).
    """
    maze = figures.maze_of(experiment)
    goals = np.unique(maze.pairs[:, 1], axis=0)
    found = [maps.learned_map("", experiment, agent, goal) for goal in goals]
    walking, straight = (np.array(np.mean(ranks)) for ranks in zip(*(one.ranks for one in found), strict=True))
    (farthest,) = np.flatnonzero((goals == figures.farthest_goal(maze)).all(axis=1))
    drawn = found[farthest]
    return {
        "walking": walking, "straight": straight,
        "map": drawn.learned.astype(np.float32), "map_ranks": np.array(drawn.ranks),
    }  # fmt: skip


def ways(experiment: Experiment, agent: Any) -> Look:
    """Representations along the way to the farthest goal that is reached.

    `way`: (K, R) by step, `arrived`: () bool, `effective_rank`: (), NaN of an agent that comes to no goal.
    """
    way = embedding.way_to_goal("", experiment, agent)
    rank = embedding.effective_rank(way.states) if way.arrived else np.nan
    return {
        "way": way.states.astype(np.float32),
        "arrived": np.array(way.arrived),
        "effective_rank": np.array(rank),
    }


def scalars(looks: Mapping[str, Look], name: str) -> dict[str, float]:
    """One number of each look; those that could not be found are left out."""
    return {trial: float(found[name]) for trial, found in looks.items() if np.isfinite(found[name])}
