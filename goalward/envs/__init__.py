"""Environments by name."""

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

from goalward.envs import boxes, maze, point
from goalward.envs.core import Entry, Env
from goalward.envs.settings import parse
from goalward.errors import MachineError, UserError


def names() -> list[str]:
    """All names that `make` takes, apart from the splits `…_gen_1f2f` of mazes, and other sizes of grids."""
    return [*(f"point_{layout}" for layout in maze.GRIDS), *boxes.NAMES, *_mujoco().TASKS]


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

    Raises `UserError` for an unknown name, and for a setting that is unknown or out of range.
    """
    entry = _entry(name)
    built = entry.build(name, parse(entry.settings, name, settings or {}))
    return built if isinstance(built, Env) else _mujoco().engine.make(built)


def _entry(name: str) -> Entry:
    """What is known of an environment before it is built. Raises `UserError` for an unknown name."""
    family, _, layout = name.partition("_")
    is_split = "_maze_gen_" in layout
    if family == "point" and (layout in maze.GRIDS or is_split):
        return point.ENTRY
    if boxes.is_name(name):
        return boxes.ENTRY
    tasks = _mujoco().TASKS
    if family == "ant" and is_split:
        return tasks["ant_u_maze"]
    if name in tasks:
        return tasks[name]
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`goalward envs` lists them all"
    raise UserError(f"unknown environment {name!r}; {hint}")


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
