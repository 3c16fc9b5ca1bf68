"""Environments by name."""

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

from goalward.envs import maze, point
from goalward.envs.core import Env
from goalward.envs.settings import parse
from goalward.errors import MachineError, UserError


def names() -> list[str]:
    """All names that `make` takes, apart from the generalisation splits `…_gen_1f2f`."""
    return [*(f"point_{layout}" for layout in maze.GRIDS), *_mujoco().TASKS]


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
    settings = settings or {}
    family, _, layout = name.partition("_")
    if family == "point" and (layout in maze.GRIDS or "_maze_gen_" in layout):
        return point.make(name, maze.parse(layout), parse(point.PointSettings(), name, settings))
    if name in _mujoco().TASKS or (family == "ant" and "_maze_gen_" in layout):
        return _mujoco().make(name, parse(default_settings(name), name, settings))
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`goalward envs` lists them all"
    raise UserError(f"unknown environment {name!r}; {hint}")


def default_settings(name: str) -> Any:
    """The settings dataclass of an environment that exists, with its defaults."""
    if name.startswith("point_"):
        return point.PointSettings()
    tasks = _mujoco().TASKS
    return tasks[name if name in tasks else "ant_u_maze"][1]


def summary(name: str) -> str:
    """What is to be done in an environment that exists: the docstring of what builds it, to its first stop."""
    build = point.make if name.startswith("point_") else _mujoco().builder(name)
    return re.split("[.:;]", build.__doc__ or "")[0]


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
