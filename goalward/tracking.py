"""What a run measures, told to Weights & Biases or MLflow; their packages are loaded only where it is asked.

A tracked run is found again by the id of the run, so that a resume goes on with it. It is told all rows that it
lacks, from before a resume too; where that fails, it is tried again after the next evaluation.
"""

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from goalward import metrics, runs
from goalward.config import leaves, to_dict
from goalward.errors import MachineError, UserError
from goalward.training import Report

PROJECT = "goalward"  # of Weights & Biases, and experiment of MLflow, where no variable names another
LONGEST = 500  # characters of a setting, or of what went wrong


class Tracker(NamedTuple):
    """A tracked run that is open."""

    last: Callable[[], int]  # the step of the last row that it has, below 0 if none
    write: Callable[[int, Mapping[str, int | float]], None]  # step and numbers of a row
    close: Callable[[bool], None]  # whether all went well


def check(name: str | None) -> None:
    """Raise `UserError` for a tracker that there is not, `MachineError` for one whose package is missing."""
    if name is None:
        return
    if name not in TRACKERS:
        raise UserError(f"track is {name!r}; it must be {' or '.join(TRACKERS)}")
    found = find_spec(name)
    if found is None or found.origin is None:  # a folder of that name here, such as Weights & Biases makes
        raise MachineError(f"{name} is not installed; pip install 'goalward[{name}]' does, or leave out track")


def tracked(reports: Iterator[Report], directory: Path, name: str) -> Generator[Report, None, None]:
    """The same reports; after each evaluation the tracker is told what it lacks."""
    tracker: Tracker | None = None
    finished = False
    try:
        for report in reports:
            if report.evaluation is not None:
                tracker = tracker or _opened(directory, name)
                with _lenient(name):
                    _catch_up(tracker, directory)
            yield report
        finished = True
    finally:
        if tracker is not None:
            with _lenient(name):
                tracker.close(finished)


def _opened(directory: Path, name: str) -> Tracker:
    """The tracked run of a run. Raises `MachineError` where it cannot be had: little is lost yet."""
    try:
        return TRACKERS[name](directory)
    except Exception as error:  # whatever a network or a service has
        raise MachineError(
            f"{name} cannot be started ({_said(error)}); {directory} is saved; resume it without track, or "
            f"once {name} works"
        ) from error


def _catch_up(tracker: Tracker, directory: Path) -> None:
    """Tell a tracker all rows that it lacks."""
    last = tracker.last()
    for row in runs.read_metrics(directory):
        if metrics.clock(row) > last:
            tracker.write(metrics.clock(row), metrics.scalars(row))


@contextmanager
def _lenient(name: str) -> Iterator[None]:
    """Warn of what fails, and go on: a run is worth more than what is told of it."""
    try:
        yield
    except Exception as error:  # whatever a network or a service has
        remedy = "the next evaluation, or a resume, tries again"
        sys.stderr.write(f"warning: {name} was not told ({_said(error)}); {remedy}\n")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]


def _wandb(directory: Path) -> Tracker:
    """A run of Weights & Biases; its own variables say where, and whether offline."""
    import wandb  # pyright: ignore[reportMissingImports]

    config, about = runs.load_config(directory), runs.load_meta(directory)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT), id=about.id, name=directory.name, resume="allow",
        config=to_dict(config), settings=wandb.Settings(console="off"),
    )  # fmt: skip
    sent = run.step - 1  # of a run that goes on, the service says where it stands

    def write(step: int, row: Mapping[str, int | float]) -> None:
        nonlocal sent
        run.log(dict(row), step=step)
        sent = step

    return Tracker(lambda: sent, write, lambda well: run.finish(exit_code=0 if well else 1))


def _mlflow(directory: Path) -> Tracker:
    """A run of MLflow, on the server or in the folder that its own variables name."""
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
    from mlflow.entities import Metric, Param, RunTag  # pyright: ignore[reportMissingImports]

    config, about = runs.load_config(directory), runs.load_meta(directory)
    client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    experiment = client.get_experiment_by_name(name)
    place = experiment.experiment_id if experiment else client.create_experiment(name)
    found = client.search_runs([place], f"tags.goalward_run = '{about.id}'")
    if found:
        run = found[0].info.run_id
        client.update_run(run, status="RUNNING")
    else:
        run = client.create_run(place, run_name=directory.name, tags={"goalward_run": about.id}).info.run_id
        params = [Param(".".join(path), str(value)[:LONGEST]) for path, value in leaves(to_dict(config))]
        client.log_batch(run, params=params, tags=[RunTag("goalward_directory", str(directory.absolute()))])
    history = client.get_metric_history(run, "updates")
    sent = max((one.step for one in history), default=-1)

    def write(step: int, row: Mapping[str, int | float]) -> None:
        nonlocal sent
        now = int(1000 * time.time())
        client.log_batch(run, metrics=[Metric(name, float(value), now, step) for name, value in row.items()])
        sent = step

    def close(well: bool) -> None:
        client.set_terminated(run, "FINISHED" if well else "FAILED")

    return Tracker(lambda: sent, write, close)


TRACKERS: dict[str, Callable[[Path], Tracker]] = {"wandb": _wandb, "mlflow": _mlflow}
