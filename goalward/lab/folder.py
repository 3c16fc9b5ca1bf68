"""The folder of a sweep: the only place that knows its file names, and where a run of it stands.

sweep.json            study, scale, and what its file said
runs/<trial>/         run directories, nothing else
logs/<trial>.log      what the run's processes said
logs/<trial>.json     how each of them ended
looks/<trial>.npz     what a report found in the run's checkpoint
.lock                 held by the sweep that runs here
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import goalward
from goalward import files, machine, runs
from goalward.config import TrainConfig, to_dict
from goalward.errors import UserError
from goalward.lab import claims
from goalward.lab import study as studies
from goalward.lab.axes import Trial
from goalward.lab.study import Part, Prediction, Study

# Raised whenever a folder written before would be misread.
FORMAT = 1
SCORE = "time_at_goal_fraction"  # what is shown of a run whose study measures no metric

_SWEEP, _RUNS, _LOGS, _LOOKS, _SLURM, _LOCK = "sweep.json", "runs", "logs", "looks", "slurm", ".lock"
_END_OF_LOG = 8_192  # bytes

State = Literal["done", "running", "failed", "stopped", "waiting"]


class Attempt(NamedTuple):
    """A process of a run that has ended."""

    started: str  # ISO 8601, as `ended`
    ended: str
    exit: int  # negative for the number of a signal
    host: str  # that watched it
    given_up: bool = False  # it failed, and was not tried again


class Standing(NamedTuple):
    """Where a run stands, by its files."""

    name: str
    state: State
    epoch: int
    epochs: int
    score: float | None  # of the last evaluation
    seconds: float  # of training, up to the last evaluation
    left: float | None  # seconds of training; None where not known
    failures: int  # processes that ended with an error


class Sweep(NamedTuple):
    """What sweep.json says."""

    study: Study
    only: dict[str, list[str]]  # labels of axes that the last call was restricted to
    threads: int  # of XLA in each run, the same in all calls: bits depend on it

    def trials(self, folder: Path) -> list[Trial]:
        """Trials that the last call was to run, and all others that were begun."""
        wanted = {trial.name for trial in chosen(self.study, self.only)}
        begun = {path.name for path in _entries(folder / _RUNS)}
        return [trial for trial in self.study.trials if trial.name in wanted | begun]


def default(study: Study) -> Path:
    """Where a sweep goes that is not told: runs/STUDY-SCALE."""
    return Path("runs") / f"{study.of}-{study.scale}"


def run_directory(folder: Path, name: str) -> Path:
    """Directory of a run."""
    return folder / _RUNS / name


def log(folder: Path, name: str) -> Path:
    """File of what a run's processes said."""
    return folder / _LOGS / f"{name}.log"


def slurm(folder: Path) -> Path:
    """Folder of what jobs of Slurm need."""
    return folder / _SLURM


def look(folder: Path, name: str) -> Path:
    """File of what a report found in a run's checkpoint."""
    return files.inside(folder, _LOOKS, f"{name}.npz")


def end_of_log(folder: Path, name: str, lines: int = 12) -> list[str]:
    """The last lines of a run's log."""
    try:
        with files.open_to_read(log(folder, name)) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_OF_LOG))
            return file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
    except FileNotFoundError:
        return []


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder of a sweep where it is missing, and hold it. Raises `UserError` while another does."""
    if not (folder / _SWEEP).is_file() and any(not _is_beginning(path) for path in _entries(folder)):
        raise UserError(f"{folder} exists and is not a sweep; choose another --out")
    (folder / _RUNS).mkdir(parents=True, exist_ok=True)
    (folder / _LOGS).mkdir(exist_ok=True)
    try:
        descriptor = files.hold(folder / _LOCK)
    except BlockingIOError as error:
        raise UserError(
            f"another sweep is running in {folder}; look at it with `{machine.command('status', folder)}`, "
            "stop it, or choose another --out"
        ) from error
    try:
        for path in (*folder.glob(f"{_SWEEP}.*.tmp"), *(folder / _LOGS).glob("*.json.*.tmp")):
            path.unlink()  # half written, by a sweep that was killed
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a sweep is running in this folder."""
    return files.is_held(folder / _LOCK)


def _is_beginning(path: Path) -> bool:
    """Whether a sweep that was killed before it wrote sweep.json may have left this."""
    return path.name in (_RUNS, _LOGS, _LOCK) or files.is_temporary(path, _SWEEP)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def chosen(study: Study, only: Mapping[str, Sequence[str]]) -> list[Trial]:
    """The trials of a study whose labels are among those that `only` names, for the axes that it names."""
    return [
        trial
        for trial in study.trials
        if all(trial.labels[axis] in labels for axis, labels in only.items() if axis in trial.labels)
    ]


def restriction(study: Study, words: Sequence[str]) -> dict[str, list[str]]:
    """Axes and labels of words such as "depth=4,8". Raises `UserError`, with the valid ones, for others."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in [axis.name for axis in study.axes]:
            names = ", ".join(axis.name for axis in study.axes)
            raise UserError(f"--only is {word!r}; write AXIS=LABEL,LABEL, where the axes are {names}")
        labels = study.axis(name).labels
        for label in text.split(","):
            if label not in labels:
                raise UserError(f"--only names {name}={label}; the labels of {name} are {', '.join(labels)}")
            found.setdefault(name, []).append(label)
    return found


def missing(folder: Path, trials: Sequence[Trial]) -> list[Trial]:
    """Trials that are not done."""
    return [trial for trial in trials if standing(folder, trial).state != "done"]


def save(folder: Path, study: Study, only: Mapping[str, Sequence[str]], threads: int) -> None:
    """Write sweep.json, all at once."""
    values = {
        "format": FORMAT,
        "goalward": goalward.__version__,
        "study": study.of,
        "scale": study.scale,
        "only": {axis: list(labels) for axis, labels in only.items()},
        "threads": threads,
        "folder": str(Path.cwd()),
        "document": study.document,
    }
    files.replace(folder / _SWEEP, json.dumps(values, indent=2, default=str) + "\n")


def is_sweep(folder: Path) -> bool:
    """Whether there is a sweep in this folder."""
    return files.inside(folder, _SWEEP).is_file()


def load(folder: Path) -> Sweep:
    """Read sweep.json. Raises `UserError` for a folder that is no sweep, or of another format."""
    if not is_sweep(folder):
        what = files.lacking(folder, _SWEEP)
        raise UserError(f"{folder} is not a sweep: it {what}; name a folder that `goalward sweep` made")
    path = folder / _SWEEP
    try:
        values = files.read_json(path)
        if values["format"] != FORMAT:
            raise UserError(
                f"{path}: format is {values['format']!r}, and this version of goalward reads format {FORMAT}; "
                f"use goalward {values.get('goalward', 'of the version that made it')}"
            )
        seen_from = values.get("folder", "")
        study = studies.from_document(values["document"], values["study"], values["scale"], seen_from)
        only = {axis: list(labels) for axis, labels in values["only"].items()}
        return Sweep(study, only, int(values.get("threads", 1)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); put it back as it was"
        ) from error


def threads(folder: Path) -> int | None:
    """Threads of each run of the sweep in this folder; None where there is none yet."""
    return load(folder).threads if is_sweep(folder) else None


def check(folder: Path, study: Study, trials: Sequence[Trial]) -> None:
    """Raise `UserError`, naming what differs, where a folder holds anything but some of these runs."""
    if is_sweep(folder):
        check_same(folder, study)
    check_runs(folder, trials)


def check_same(folder: Path, study: Study, remedy: str = "choose another --out") -> None:
    """Raise `UserError`, naming what differs and the remedy, where a folder holds another study's sweep.

    More points on its axes are the same sweep. So is anything about how results are measured and drawn.
    """
    old = load(folder).study
    if (
        study.name != study.of
    ):  # the prediction that was made before the runs is that of the study that has them
        study = studies.from_document(study.document, study.of, study.scale)
    for name in ("of", "scale"):
        was, now = getattr(old, name), getattr(study, name)
        if was != now:
            told = "study" if name == "of" else name
            raise UserError(f"{folder} is a sweep of {told} {was!r}, not {now!r}; {remedy}")
    was, now = ([axis.name for axis in one.axes] for one in (old, study))
    if was != now:
        raise UserError(f"{folder} is a sweep over the axes {', '.join(was)}, not {', '.join(now)}; {remedy}")
    for axis in old.axes:
        gone = [label for label in axis.labels if label not in study.axis(axis.name).labels]
        if gone:
            raise UserError(
                f"{folder} is a sweep with {axis.name} {', '.join(axis.labels)}, and the study no longer has "
                f"{', '.join(gone)}; put it back and use --only to run some, or {remedy}"
            )
    configs = {trial.name: trial.config for trial in study.trials}
    for trial in old.trials:
        differs = difference(trial.config, configs[trial.name])
        if differs:
            raise UserError(
                f"{folder} is a sweep whose run {trial.name} has {differs[0]} {differs[1]!r}, and the study "
                f"now has {differs[2]!r}; put it back, or {remedy}"
            )
    if _predicted(old) != _predicted(study) and _entries(folder / _RUNS):
        raise UserError(
            f"{folder} was begun with another prediction, and one is made before the runs; put it back, or "
            f"{remedy}"
        )


def _predicted(study: Study) -> tuple[Prediction | None, dict[str, Part]]:
    """A prediction, and how the measures are taken that its claims are made of."""
    prediction = study.prediction
    stated = [] if prediction is None else [prediction.success, prediction.partly]
    names = {name for claim in stated if claim is not None for name in claims.measures(claim)}
    return prediction, {name: study.measures[name] for name in names}


def check_runs(folder: Path, trials: Sequence[Trial]) -> None:
    """Raise `UserError`, naming the setting, for a run directory with other settings than its trial's."""
    for trial in trials:
        directory = run_directory(folder, trial.name)
        if runs.is_run(directory):
            differs = difference(runs.load_config(directory), trial.config)
            if differs:
                raise UserError(
                    f"{directory} has {differs[0]} {differs[1]!r}, and its trial in the study {differs[2]!r}; "
                    "move it away, or choose another --out"
                )


def difference(ours: TrainConfig, theirs: TrainConfig) -> tuple[str, Any, Any] | None:
    """The first setting in which two configurations differ, with both values; None where they are equal.

    A dataset is the same by whatever way it is named.
    """
    if ours == theirs:
        return None
    one, other = (dict(_leaves(to_dict(_resolved(config)))) for config in (ours, theirs))
    return next(((name, one[name], other.get(name)) for name in one if one[name] != other.get(name)), None)


def _resolved(config: TrainConfig) -> TrainConfig:
    """The same with the dataset's own place, links followed."""
    if config.dataset is None or not Path(config.dataset).is_absolute():
        return config
    return replace(config, dataset=str(Path(config.dataset).resolve()))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and name != "env_settings":
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def attempts(folder: Path, name: str) -> list[Attempt]:
    """How the processes of a run ended, the first one first. Raises `UserError` for a damaged file."""
    path = folder / _LOGS / f"{name}.json"
    try:
        return [Attempt(**values) for values in files.read_json(path)]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}; remove it") from error


def add_attempt(folder: Path, name: str, attempt: Attempt) -> None:
    """Record how a process of a run ended."""
    values = [one._asdict() for one in [*attempts(folder, name), attempt]]
    files.replace(folder / _LOGS / f"{name}.json", json.dumps(values, indent=1) + "\n")


def metric(study: Study) -> str:
    """What is shown as the score of a run: the metric of the study's first measure that has one."""
    metrics = [part.options["metric"] for part in study.measures.values() if "metric" in part.options]
    return metrics[0] if metrics else SCORE


def standing(folder: Path, trial: Trial, metric: str = SCORE) -> Standing:
    """Where a run stands. Reads four small files, and of the rows only the last."""
    directory, config = run_directory(folder, trial.name), trial.config
    ended = attempts(folder, trial.name)
    failures = sum(attempt.exit != 0 for attempt in ended)
    rows = runs.last_rows(directory)
    last = rows[-1] if rows else {"iteration": 0, "seconds": 0.0}
    iteration = last["iteration"]
    state: State
    if rows and iteration >= config.iterations:
        state = "done"
    elif runs.is_held(directory):
        state = "running"
    elif ended and ended[-1].given_up:
        state = "failed"
    else:
        state = "stopped" if rows or runs.is_run(directory) else "waiting"
    epoch = config.epoch_at(min(iteration, config.iterations))
    left = 0.0 if state == "done" else _left(rows, config)
    return Standing(trial.name, state, epoch, config.epochs, last.get(metric), last["seconds"], left, failures)


def _left(rows: Sequence[Mapping[str, Any]], config: TrainConfig) -> float | None:
    """Seconds of training that a run has left, at the rate of its last epoch."""
    if len(rows) < 2:
        return None  # the first row is of before the first update
    before, last = rows[-2:]
    if last["iteration"] <= before["iteration"]:
        return None  # rows of a damaged file
    rate = (last["seconds"] - before["seconds"]) / (last["iteration"] - before["iteration"])
    return max(0.0, rate * (config.iterations - last["iteration"]))
