"""The run directory: the only place that knows its file names."""

import csv
import datetime
import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from goalward.config import TrainConfig, from_dict
from goalward.errors import UserError

# Raised whenever a directory written before can no longer be read.
FORMAT = 1

_CONFIG, _META, _CSV, _JSONL = "config.json", "meta.json", "metrics.csv", "metrics.jsonl"
_TENSORBOARD, _CHECKPOINTS, _FAILURE, _LOCK, _SUMMARY = (
    "tensorboard",
    "checkpoints",
    "failure",
    ".lock",
    "summary.json",
)
_PROFILE = "profile"  # fmt: skip
_PACKAGES = ("goalward", "jax", "jaxlib", "equinox", "optax", "orbax-checkpoint", "numpy")


def default_directory(config: TrainConfig) -> Path:
    """A new name under runs/: environment, depth, seed and the time."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{config.env}-d{config.network.depth}-s{config.seed}-{now}"


def create(directory: Path, config: TrainConfig, device: str) -> None:
    """Make a run directory that holds the configuration. Raises `UserError` where something is already."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        remedy = (
            f"`goalward train --resume {directory}` continues it" if is_run(directory) else "it is not empty"
        )
        raise UserError(f"{directory} exists: {remedy}; choose another --out, or remove it")
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / _META, meta(device))
    save_config(directory, config)


def is_run(directory: Path) -> bool:
    """Whether a run was started in this directory."""
    return (directory / _CONFIG).is_file()


def save_config(directory: Path, config: TrainConfig) -> None:
    """Write config.json, all at once."""
    _write_json(directory / _CONFIG, {"format": FORMAT, **asdict(config)})


def profile(directory: Path) -> Path:
    """Folder of traces."""
    return directory / _PROFILE


def save_profile(directory: Path, values: Mapping[str, Any]) -> None:
    """Write the sums of a profile beside its traces, all at once."""
    _write_json(profile(directory) / _SUMMARY, values)


def save_summary(directory: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json, all at once."""
    _write_json(directory / _SUMMARY, summary)


def load_config(directory: Path) -> TrainConfig:
    """Read config.json. Raises `UserError` for a directory that is no run, or of another format."""
    path = directory / _CONFIG
    if not path.is_file():
        what = "has no config.json" if directory.is_dir() else "does not exist"
        raise UserError(f"{directory} is not a run directory: it {what}; name one that `goalward train` made")
    values = read_settings(path)
    found = values.pop("format", None)
    if found != FORMAT:
        raise UserError(
            f"{path}: format is {found!r}, and this version of goalward reads format {FORMAT}; "
            f"use the version that {directory / _META} names, or train anew"
        )
    return from_dict(values, str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings, JSON or TOML by its ending. Raises `UserError` if it cannot be read."""
    import tomllib

    parse = tomllib.loads if path.suffix == ".toml" else json.loads
    try:
        values = parse(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(
            f"{path} is not valid {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold names and values, not a {type(values).__name__}")
    return values


def meta(device: str) -> dict[str, Any]:
    """Where and with what a run is made."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": device,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the source this package runs from, with a + if it was changed; None outside git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def checkpoints(directory: Path) -> Path:
    """Folder of the checkpoints."""
    return directory / _CHECKPOINTS


def failure(directory: Path) -> Path:
    """Folder of what reproduces a run that stopped at a NaN or Inf."""
    return directory / _FAILURE


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a run directory for this process. Raises `UserError` if another one does."""
    with (directory / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{directory} is in use by another process; wait for it, or stop it") from error
        yield


class Recorder:
    """Writes metrics.csv, metrics.jsonl and TensorBoard events, one row an evaluation."""

    def __init__(self, directory: Path, last_iteration: int):
        """Continue after `last_iteration`: later rows, of work that was lost, are removed."""
        self._csv, self._jsonl = directory / _CSV, directory / _JSONL
        self._rows = [row for row in read_metrics(directory) if row["iteration"] <= last_iteration]
        self._rewrite()
        step = self._rows[-1]["env_steps"] + 1 if self._rows else 0
        self._events = SummaryWriter(str(directory / _TENSORBOARD), purge_step=step)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row: scalars go to all three, anything else to metrics.jsonl only."""
        self._rows.append(dict(row))
        self._rewrite()
        for name, value in _scalars(row).items():
            self._events.add_scalar(name, value, row["env_steps"])
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        self._events.close()

    def _rewrite(self) -> None:
        """Write both tables anew, each replaced in one step: no reader ever sees half a row."""
        _replace(self._jsonl, "".join(json.dumps(row) + "\n" for row in self._rows))
        columns = list(dict.fromkeys(name for row in self._rows for name in _scalars(row)))
        with _replacing(self._csv) as file:
            table = csv.DictWriter(file, columns, restval="")
            table.writeheader()
            table.writerows(map(_scalars, self._rows))


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; none where there is no such file."""
    path = directory / _JSONL
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise UserError(
            f"{path} is damaged: {error}; move it away to continue without the earlier rows"
        ) from error


def _scalars(row: Mapping[str, Any]) -> dict[str, int | float]:
    return {name: value for name, value in row.items() if isinstance(value, (int, float))}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    _replace(path, json.dumps(values, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    with _replacing(path) as file:
        file.write(text)


@contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """A text file that takes the place of `path` when it is whole, and not before."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
