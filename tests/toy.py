"""A run of a moment, and what several test files do with it."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from goalward import checkpoint, presets, runs, training
from goalward.config import TrainConfig, from_dict, merge, named_agent, to_dict

# Three iterations an epoch, each of 4 · 10 environment steps and 2 updates, after a prefill of two rounds.
SETTINGS = {
    "env": "point_u_maze",
    "env_settings": {"episode_length": 20},
    "total_env_steps": 320,
    "epochs": 2,
    "num_envs": 4,
    "steps_per_goal": 7,
    "steps_per_iteration": 10,
    "updates_per_iteration": 2,
    "batch_size": 8,
    "buffer_rows": 60,
    "prefill_rows": 20,
    "eval_episodes": 4,
    "network": {"depth": 2, "block_size": 2, "width": 8},
}
ITERATIONS, UPDATES, STEPS = 3, 2, 40

_compile = training.compile_programs
_programs, _trained = {}, {}


def _compile_once(experiment: training.Experiment, profiler=None) -> training.Programs:
    """Compiling takes most of a toy run's time; programs of equal sizes are equal."""
    if profiler:
        return _compile(experiment, profiler)
    settings = replace(experiment.config, seed=0, epochs=1, total_env_steps=1, keep_last=1)
    if settings.is_offline:  # whichever file it is
        settings = replace(settings, dataset="", dataset_rows=None, total_updates=1)
    name = json.dumps(to_dict(settings), sort_keys=True)
    if name not in _programs:
        _programs[name] = _compile(experiment)
    return _programs[name]


training.compile_programs = _compile_once


def config(**changes) -> TrainConfig:
    """What `goalward train` makes of `words()`, with some settings changed; a part's as a mapping."""
    agent = named_agent(changes)
    if agent:
        changes = presets.for_agent(changes, agent)
    return from_dict(merge(presets.load("point", agent), merge(SETTINGS, changes)), "toy")


def epochs(number: int, **changes) -> TrainConfig:
    """The toy configuration with another number of epochs of the same length."""
    return config(epochs=number, total_env_steps=total(number), **changes)


def total(epochs: int) -> int:
    """Environment steps of so many epochs, after the prefill."""
    return (2 + epochs * ITERATIONS) * STEPS


def words(settings: dict | None = None) -> list[str]:
    """Settings, the toy's by default, as words of `goalward train`."""
    settings = dict(SETTINGS if settings is None else settings)
    line = [settings.pop("env")] if "env" in settings else []
    for name, value in (settings | settings.pop("network", {})).items():
        line.append("--" + name.replace("_", "-"))
        line += [f"{n}={v}" for n, v in value.items()] if name == "env_settings" else [str(value)]
    return line


def run(directory: Path, settings: TrainConfig | None = None, **options) -> list[training.Report]:
    """Train to the end, or to a stop; all reports."""
    return list(training.train(settings or config(), directory, **options))


def trained(tmp_path_factory) -> Path:
    """A toy run of two epochs, made once; whoever changes it takes a copy."""
    if "toy" not in _trained:
        _trained["toy"] = tmp_path_factory.mktemp("toy") / "run"
        run(_trained["toy"])
    return _trained["toy"]


def copy(directory: Path, to: Path) -> Path:
    """A copy of a run to do with as one likes."""
    return Path(shutil.copytree(directory, to))


def latest(directory: Path) -> checkpoint.Saved:
    """The latest checkpoint of a run."""
    return checkpoint.latest(runs.checkpoints(directory))


def digest(directory: Path) -> str:
    """Hash of all arrays of a run's latest checkpoint."""
    return checkpoint.digest_saved(latest(directory))


def rows(directory: Path) -> list[dict]:
    """Rows of a run's metrics, without the one thing that differs between equal runs."""
    return [{name: row[name] for name in row if name != "seconds"} for row in runs.read_metrics(directory)]


def events(directory: Path) -> dict[tuple[int, str], float]:
    """Scalars of a run's TensorBoard files by step and name."""
    seen = {}
    for path in (directory / "tensorboard").iterdir():
        data = path.read_bytes()
        while data:  # length (8), its checksum (4), event, its checksum (4)
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            seen |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
    return seen


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory, to see that nothing has touched them."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def change_state(saved: checkpoint.Saved, changes: dict) -> None:
    """Change entries of a checkpoint's state, and sign it anew: its manifest fits."""
    (saved.path / "state.json").write_text(json.dumps(saved.state | changes))
    (saved.path / "manifest.json").write_text(json.dumps(checkpoint._hashes(saved.path)))


def damage(path: Path, how: str) -> None:
    """Take a file away, cut it in half, or flip one bit in its middle."""
    data = path.read_bytes()
    middle = len(data) // 2
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[:middle])
    else:
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
