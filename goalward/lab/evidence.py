"""What there is of a study in the folder of a sweep: how its runs stand, and all that they left."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from goalward import runs
from goalward.errors import UserError
from goalward.lab import folder as folders
from goalward.lab import looks
from goalward.lab import study as studies
from goalward.lab.axes import Trial
from goalward.lab.folder import Standing
from goalward.lab.results import Row
from goalward.lab.study import Study


class Evidence(NamedTuple):
    """What files say of the runs of a study, by the names of its trials."""

    study: Study
    folder: Path
    standings: dict[str, Standing]  # of all runs
    rows: dict[str, Sequence[Row]]  # all evaluations, of those that are done
    origins: dict[str, Mapping[str, Any]]  # what meta.json says, of those that are done
    refused: dict[str, str]  # done, but not looked at, and why
    looks: dict[str, looks.Look]  # what checkpoints say, of those that are done
    unseen: dict[str, str]  # whose checkpoint says nothing, and why

    @property
    def done(self) -> list[Trial]:
        """Trials that count: they are done, and what their files say is what the study asks for."""
        return [trial for trial in self.study.trials if trial.name in self.rows]

    def having(self, labels: Mapping[str, str]) -> list[Trial]:
        """Trials that count and have these labels."""
        return [trial for trial in self.study.having(labels) if trial.name in self.rows]

    def chance(self, labels: Mapping[str, str], metric: str | None) -> float | None:
        """What random actions achieve, mean over the runs of these labels; None where it is not recorded."""
        rows = [self.rows[trial.name][-1] for trial in self.having(labels)]
        found = [row[f"random_{metric}"] for row in rows if f"random_{metric}" in row]
        return float(np.mean(found)) if found else None

    @property
    def scalars(self) -> dict[str, dict[str, float]]:
        """Measures that are taken of checkpoints, by measure and trial."""
        named = {measure: looks.name_of(part) for measure, part in self.study.measures.items()}
        return {measure: looks.scalars(self.looks, name) for measure, name in named.items() if name is not None}


def choose(folder: Path, name: str | None) -> Study:
    """The study that a sweep was made for, or another one of the same runs.

    Raises `UserError` for a folder that is no sweep and, naming what fits, for a study of other runs.
    """
    try:
        own = folders.load(folder).study
    except UserError as error:
        if runs.is_run(folder) or any(runs.is_run(path) for path in folder.glob("*") if path.is_dir()):
            raise UserError(f"{error}; for runs beside each other there is `goalward curves`") from error
        raise
    if name is None or name == own.name:
        return own
    if own.scale == studies.PLAIN:
        raise UserError(f"{folder} holds runs of --axis, which no study looks at; leave out --study")
    study = studies.load(name, own.scale)
    if study.of == own.of:
        # The sweep's own runs: names of datasets are seen from where it began, on whatever machine that was.
        same = [trial.name for trial in study.trials] == [trial.name for trial in own.trials]
        study = study._replace(trials=own.trials) if same else study
        if study.name == study.of:  # its prediction was made before the runs, and is not made anew
            folders.check_same(folder, study, "leave out --study, which takes it as it was begun")
        return study
    others = (one for one in studies.shipped() if _of(one, own.scale) == own.of and one != own.name)
    raise UserError(
        f"study {name!r} looks at runs of {study.of!r}, and {folder} holds runs of {own.of!r}; "
        f"of these there are the studies {', '.join([own.name, *others])}"
    )


def _of(name: str, scale: str) -> str:
    """The study whose runs a study of the package looks at; "" where it has none at this scale."""
    try:
        return studies.load(name, scale).of
    except UserError:
        return ""


def gather(folder: Path, study: Study, tell: Callable[[str], None]) -> Evidence:
    """Read what runs left, each file once; `tell` hears of each checkpoint that has to be loaded."""
    found = Evidence(study, folder, {}, {}, {}, {}, {}, {})
    metric = folders.metric(study)
    for trial in study.trials:
        standing = folders.standing(folder, trial, metric)
        found.standings[trial.name] = standing
        if standing.state != "done":
            continue
        try:
            found.origins[trial.name], found.rows[trial.name] = read(folder, trial)
        except UserError as error:
            found.refused[trial.name] = str(error)
    seen, unseen = looks.look(folder, found.done, looks.needed(study), tell)
    return found._replace(looks=seen, unseen=unseen)


def read(folder: Path, trial: Trial) -> tuple[Mapping[str, Any], Sequence[Row]]:
    """What meta.json says of a run, and its rows. Raises `UserError` unless it is one of this trial, whole."""
    directory = folders.run_directory(folder, trial.name)
    differs = folders.difference(runs.load_config(directory), trial.config)
    if differs:
        raise UserError(
            f"{directory} has {differs[0]} {differs[1]!r}, and its trial in the study {differs[2]!r}"
        )
    return runs.origin(directory), runs.read_metrics(directory)


def refused(folder: Path, trial: Trial) -> str | None:
    """Why a run that is done counts for nothing in a report, if so."""
    try:
        read(folder, trial)
    except UserError as error:
        return str(error)
    return None
