"""Environments by name."""

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from goalward.config import TrainConfig
from goalward.envs import boxes, gym, maze, own, point, shapes
from goalward.envs.core import Entry, Env
from goalward.envs.own import absolute, asked, moved
from goalward.envs.settings import parse
from goalward.errors import MachineError, UserError

__all__ = [
    "absolute",
    "asked",
    "default_settings",
    "describe",
    "located",
    "make",
    "moved",
    "names",
    "preset",
    "summary",
]


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
    with an environment of a person's own; and where JAX is told to compute in 64 bits.
    """
    if jnp.result_type(float) != jnp.float32:
        raise UserError(
            "JAX computes in 64 bits, goalward in 32: unset JAX_ENABLE_X64, "
            "or jax.config.update('jax_enable_x64', False)"
        )
    entry = _entry(name)
    built = entry.build(name, parse(entry.settings, name, settings or {}))
    env = built if isinstance(built, Env) else _simulated(name, built)
    if not entry.is_own:
        return env
    broken = shapes.broken(env)
    if broken:
        raise UserError(f"{name}: {broken[0].what}; {broken[0].remedy}")
    named = own.place(name)
    if named is None:
        return env._replace(name=name)
    model = b"" if env.task is None else _mujoco().models.to_bytes(env.task.model)
    return env._replace(name=name, source=own.source(named, model))


def _simulated(name: str, task: Any) -> Env:
    """The environment of a task on MuJoCo. Raises `UserError` for what is none."""
    mujoco = _mujoco()
    if not isinstance(task, mujoco.Task):
        kind = type(task).__name__
        raise UserError(f"{name} gives a {kind}; it must give a Task, an Env or a gymnasium.Env")
    return mujoco.engine.make(task)


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
    if name.endswith((".xml", ".urdf")):
        raise UserError(
            f"{name} is a model, not an environment; "
            f"`goalward new-task {name} --goal site:tip --out my_task.py` writes one around it"
        )
    if (Path(name) / "config.json").is_file():
        raise UserError(f"{name} is a run directory, not an environment")
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`goalward envs` lists them all"
    raise UserError(f"unknown environment {name!r}; {hint}")


def located(config: TrainConfig, file: str | Path | None) -> TrainConfig:
    """The configuration, with the file of its environments where a person says it is."""
    if file is None:
        return config
    eval_env = config.eval_env
    if eval_env is not None and own.place(eval_env) is not None:
        eval_env = moved(eval_env, file)
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
