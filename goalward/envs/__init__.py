"""Environments by name."""

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goalward.config import TrainConfig
from goalward.envs import boxes, gym, maze, own, point, shapes
from goalward.envs.core import Entry, Env
from goalward.envs.settings import parse
from goalward.errors import MachineError, UserError


def names() -> list[str]:
    """All names that `make` takes, apart from the splits `…_gen_1f2f` of mazes, and other sizes of grids."""
    ours = [*(f"point_{layout}" for layout in maze.GRIDS), *boxes.NAMES, *_mujoco().TASKS]
    return [*ours, *(name for name in own.points() if name not in ours)]


def _mujoco() -> Any:
    """The tasks on MuJoCo, loaded where they are needed: point mazes do without.

    Raises `MachineError` where MuJoCo cannot be loaded, as with a MUJOCO_GL that there is no library for.
    """
    try:
        from goalward.envs import mujoco
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        chosen = os.environ.get("MUJOCO_GL")
        remedy = (
            f"MUJOCO_GL is {chosen!r}: unset it, or install what it names" if chosen else "reinstall mujoco"
        )
        raise MachineError(f"MuJoCo cannot be loaded ({error}); {remedy}") from error
    return mujoco


def make(name: str, settings: Mapping[str, Any] | None = None) -> Env:
    """Build the environment `name`, with some of its settings changed.

    Raises `UserError` for an unknown name, for a setting that is unknown or out of range, and for what is wrong
    with an environment of a person's own.
    """
    entry = _entry(name)
    built = entry.build(name, parse(entry.settings, name, settings or {}))
    model = b""
    if not isinstance(built, Env):
        mujoco = _mujoco()
        if not isinstance(built, mujoco.Task):
            kind = type(built).__name__
            raise UserError(f"{name} gives a {kind}; it must give a Task, an Env or a gymnasium.Env")
        built, model = mujoco.engine.make(built), mujoco.models.to_bytes(built.model)
    if not entry.is_own:
        return built
    named = own.place(name)
    broken = shapes.broken(built)
    if broken:
        raise UserError(f"{name}: {broken[0].what}; {broken[0].remedy}")
    return built._replace(name=name, source=own.source(named, model) if named else "")


def _entry(name: str) -> Entry:
    """What is known of an environment before it is built. Raises `UserError` for an unknown name."""
    family, _, layout = name.partition("_")
    is_split = "_maze_gen_" in layout
    if family == "point" and (layout in maze.GRIDS or is_split):
        return point.ENTRY
    if boxes.is_name(name):
        return boxes.ENTRY
    if gym.is_name(name):
        return gym.entry(name)
    named = own.place(name)
    if named is not None:
        return own.of_file(named)
    tasks = _mujoco().TASKS
    if family == "ant" and is_split:
        return tasks["ant_u_maze"]
    if name in tasks:
        return tasks[name]
    if name in own.points():
        return own.of_package(own.points()[name])
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`goalward envs` lists them all"
    raise UserError(f"unknown environment {name!r}; {hint}")


def asked(name: str) -> str:
    """The name by which an environment that a person typed is found from anywhere.

    If it comes from a file, that may be loaded from now on. Raises `UserError` where there is no such file.
    """
    return own.asked(name)


def absolute(name: str) -> str:
    """The name by which an environment of a file is found from anywhere; others as they are."""
    named = own.place(name)
    return name if named is None else str(named._replace(path=named.path.resolve()))


def moved(name: str, file: str | Path) -> str:
    """The name of an environment whose file a person says is elsewhere; it may be loaded from now on."""
    return own.moved(name, Path(file))


def located(config: TrainConfig, file: str | Path | None) -> TrainConfig:
    """The configuration, with the file of its environments where a person says it is."""
    if file is None:
        return config
    named = own.place(config.env)
    is_same = config.eval_env is not None and named and own.place(config.eval_env) is not None
    eval_env = moved(config.eval_env, file) if is_same and config.eval_env else config.eval_env
    return dataclasses.replace(config, env=moved(config.env, file), eval_env=eval_env)


def default_settings(name: str) -> Any:
    """The settings dataclass of an environment, with its defaults. Raises `UserError` for an unknown name."""
    return _entry(name).settings


def preset(name: str) -> str:
    """The preset an environment is learned with on a laptop. Raises `UserError` for an unknown name."""
    return _entry(name).preset


def summary(name: str) -> str:
    """What is to be done in an environment: the docstring of what builds it, to its first stop."""
    return re.split("[.:;]", _entry(name).build.__doc__ or "")[0]


def describe() -> list[dict[str, Any]]:
    """One row an environment: name, what is to be done, sizes, version, default settings."""
    rows = []
    for name in names():
        env = make(name)
        spec = env.spec
        sizes = {size: getattr(spec, size) for size in ("obs_dim", "goal_dim", "action_dim", "episode_length")}
        settings = dataclasses.asdict(default_settings(name))
        told = {"name": name, "task": summary(name)}
        rows.append({**told, **sizes, "version": env.version, "settings": settings})
    return rows
