"""The run directory: the only place that knows its file names."""

import datetime
import itertools
import json
import os
import platform
import shutil
import subprocess
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from goalward import files, machine, metrics
from goalward.config import TrainConfig, agent_name, from_dict, to_dict
from goalward.errors import UserError
from goalward.metrics import Recorder

# Raised whenever a directory written before would be misread. In format 1 the total of a run did not hold its
# prefill, and checkpoints were Orbax's.
FORMAT = 2

_CONFIG, _META, _CSV, _JSONL = "config.json", "meta.json", "metrics.csv", "metrics.jsonl"
_TENSORBOARD, _CHECKPOINTS, _FAILURE, _LOCK, _SUMMARY = (
    "tensorboard",
    "checkpoints",
    "failure",
    ".lock",
    "summary.json",
)
_PROFILE = "profile"  # fmt: skip
_WRITTEN = (_CONFIG, _META, _CSV, _JSONL, _SUMMARY)
_NAMES = (*_WRITTEN, _TENSORBOARD, _CHECKPOINTS, _FAILURE, _PROFILE, _LOCK)
_PACKAGES = ("goalward", "jax", "jaxlib", "equinox", "optax", "numpy", "mujoco")


class Meta(NamedTuple):
    """What of meta.json is read again."""

    id: str  # that of the run, which its checkpoints name too
    env_version: int
    eval_env_version: int
    goalward: str | None  # version of the package
    dataset_sha256: str | None  # of the files that it learns from; None where it collects
    # SHA-256 of what an environment is made of that comes from a person's own file; else None.
    env_source: str | None = None
    eval_env_source: str | None = None


def default_directory(config: TrainConfig) -> Path:
    """Make a new folder under runs/, named by environment, agent, depth, seed and time.

    A taken name gets a suffix.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{files.short(config.env)}-{agent_name(config.agent)}-d{config.network.depth}-s{config.seed}-{now}"
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


@contextmanager
def new(directory: Path, config: TrainConfig, device: str, made_of: Mapping[str, Any]) -> Iterator[None]:
    """Make a run directory that holds the configuration, and hold it for this process, as `lock` does.

    `made_of` are versions and files of environments and the hash of a dataset, as in `Meta`. Raises `UserError`
    where something is already. A user's mistake that shows before anything is learned leaves nothing behind.
    """
    _check_empty(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with lock(directory):
        _check_empty(directory)  # from here on nobody else writes into it
        _write_json(directory / _META, {"id": uuid.uuid4().hex, **made_of, **meta(device)})
        save_config(directory, config)
        try:
            yield
        except UserError:
            if not any(checkpoints(directory).glob("*")):
                _empty(directory)
            raise


def _check_empty(directory: Path) -> None:
    """Raise `UserError` unless there is nothing, or what `new` left when it was killed before the settings."""
    is_free = directory.is_dir() and all(map(_is_beginning, directory.iterdir()))
    if directory.exists() and not is_free:
        command = machine.command("train", "--resume", directory)
        if directory.is_dir():
            found = f"`{command}` continues it" if is_run(directory) else "it is not empty"
        else:
            found = "it is a file"
        raise UserError(f"{directory} exists: {found}; choose another --out, or remove it")


def _is_beginning(path: Path) -> bool:
    return path.name in (_LOCK, _META) or any(files.is_temporary(path, name) for name in (_META, _CONFIG))


def clear(directory: Path) -> None:
    """Remove all that is in a run directory. Raises `UserError` while another process holds it."""
    with lock(directory):
        _empty(directory)


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def settings(directory: Path) -> Path:
    """File of a run's settings. From when it is there, the run has been begun."""
    return files.inside(directory, _CONFIG)


def is_run(directory: Path) -> bool:
    """Whether a run was started in this directory."""
    return settings(directory).is_file()


def save_config(directory: Path, config: TrainConfig) -> None:
    """Write config.json, all at once."""
    _write_json(directory / _CONFIG, {"format": FORMAT, **to_dict(config)})


def profile(directory: Path) -> Path:
    """Folder of traces."""
    return files.inside(directory, _PROFILE)


def save_profile(directory: Path, values: Mapping[str, Any]) -> None:
    """Write the sums of a profile beside its traces, all at once."""
    _write_json(files.inside(directory, _PROFILE, _SUMMARY), values)


def save_summary(directory: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json, all at once."""
    _write_json(directory / _SUMMARY, summary)


def picture(directory: Path, name: str) -> Path:
    """Where a picture goes. Raises `UserError` where there is a link, which would be written through."""
    return files.inside(directory, name)


def load_config(directory: Path) -> TrainConfig:
    """Read config.json. Raises `UserError` for a directory that is no run, or of another format."""
    path = files.inside(directory, _CONFIG)
    if not path.is_file():
        what = files.lacking(directory, _CONFIG)
        raise UserError(f"{directory} is not a run directory: it {what}; name one that `goalward train` made")
    values = _read_mapping(path)
    if "format" not in values:
        raise UserError(f"{path}: format is missing; name a directory that `goalward train` made")
    return from_dict(current(values, path), str(path))


def current(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings of a file as this version has them, without the format it names.

    Raises `UserError` for a format that is not read.
    """
    values = dict(values)
    found = values.pop("format", FORMAT)
    if found != FORMAT:
        raise UserError(
            f"{path}: format is {found!r}, and this version of goalward reads format {FORMAT}; "
            f"use the version that {path.with_name(_META)} names, or train anew"
        )
    if isinstance(values.get("crl"), dict) and values.get("agent", "crl") == "crl":
        values["agent"] = {"name": "crl", **values.pop("crl")}  # as it was written when there was no other
    return values


def load_meta(directory: Path) -> Meta:
    """What of meta.json is read again. Raises `UserError` where it is missing or damaged."""
    values = origin(directory)
    packages = values.get("versions")
    values["goalward"] = packages.get("goalward") if isinstance(packages, dict) else None
    fields: dict[str, Any] = {name: values.get(name) for name in Meta._fields}
    return Meta(**fields)


def origin(directory: Path) -> dict[str, Any]:
    """All of meta.json: where and with what a run was made. Raises `UserError` as `load_meta` does."""
    path = files.inside(directory, _META)
    if not path.is_file():
        raise UserError(f"{path} is missing; put back the file that the run made: its checkpoints name its id")
    values = _read_mapping(path)
    for name, kind in {"id": str, "env_version": int, "eval_env_version": int}.items():
        if type(values.get(name)) is not kind:
            told = f"{path} is damaged: {name} is {values.get(name)!r}; put back the file that the run made"
            raise UserError(told)
    return values


def _read_mapping(path: Path) -> dict[str, Any]:
    """Names and values of a JSON file in a run directory."""
    try:
        values = files.read_json(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        told = f"{path} is not valid JSON: {error}; put back the file that the run made"
        raise UserError(told) from error
    return _mapping(values, path)


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings, JSON or TOML by its ending. Raises `UserError` if it cannot be read."""
    if path.suffix.lower() not in (".toml", ".json"):
        raise UserError(f"{path} is neither JSON nor TOML by its name; settings are read from .toml and .json")
    is_toml = path.suffix.lower() == ".toml"
    parse = tomllib.loads if is_toml else json.loads
    try:
        values = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid {'TOML' if is_toml else 'JSON'}: {error}") from error
    return _mapping(values, path)


def _mapping(values: Any, path: Path) -> dict[str, Any]:
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
        "cores": machine.cores(),
        "threads": threads(),
        "device": device,
    }


def threads() -> int:
    """Threads of XLA on the CPU; sums, and so bits, depend on their number where products are split among them.

    By XLA's own rule (`DefaultThreadPoolSize`): what PJRT_NPROC or NPROC says, else the cores that this process
    may use.
    """
    for name in ("PJRT_NPROC", "NPROC"):
        with suppress(KeyError, ValueError):
            return max(0, int(os.environ[name]))
    return machine.affinity()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the source this package runs from, with a + if it was changed; None if git does not keep it.

    An installed package may lie inside of some other repository, whose commit says nothing.
    """
    package = Path(__file__).resolve().parent
    # Variables such as GIT_DIR, which git sets for hooks, would name another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        line = ["git", "-C", str(package), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True, env=env).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        project = tomllib.loads(
            (Path(git("rev-parse", "--show-toplevel")) / "pyproject.toml").read_text("utf-8")
        )
        if project.get("project", {}).get("name") != "goalward":
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def checkpoints(directory: Path) -> Path:
    """Folder of the checkpoints."""
    return files.inside(directory, _CHECKPOINTS)


def failure(directory: Path) -> Path:
    """Folder of what reproduces a run that stopped at a NaN or Inf."""
    return files.inside(directory, _FAILURE)


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a run directory for this process. Raises `UserError` if another does, or as `files.check` does."""
    try:
        descriptor = files.hold(directory / _LOCK)
    except BlockingIOError as error:
        raise UserError(
            f"{directory} is in use by another process; wait for it, stop it, or name another directory"
        ) from error
    try:
        _look_over(directory)
        yield
    finally:
        os.close(descriptor)


def is_held(directory: Path) -> bool:
    """Whether a process holds a run directory, on any host that shares it."""
    return files.is_held(directory / _LOCK)


def _look_over(directory: Path) -> None:
    """Refuse links and pipes anywhere in a run before anything is written; remove what was half written."""
    for path in directory.iterdir():
        is_temporary = any(files.is_temporary(path, name) for name in _WRITTEN)
        if path.name in _NAMES or is_temporary:
            files.check(path)
            files.below(path)
        if is_temporary and path.is_file():
            path.unlink()


def recorder(directory: Path, last_iteration: int, last_row: Mapping[str, Any] | None = None) -> Recorder:
    """What writes the logs of a run, after `last_iteration`; see `Recorder`."""
    jsonl, table, events = (files.inside(directory, name) for name in (_JSONL, _CSV, _TENSORBOARD))
    return Recorder(jsonl, table, events, last_iteration, last_row)


def last_rows(directory: Path) -> list[dict[str, Any]]:
    """The last two rows of metrics.jsonl, or as many as there are; only its end is read."""
    return metrics.read_end(files.inside(directory, _JSONL))


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; none where there is no such file. Raises `UserError` for what is no row."""
    return metrics.read(files.inside(directory, _JSONL))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    files.replace(path, json.dumps(values, indent=2) + "\n")
