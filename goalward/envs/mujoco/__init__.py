"""The paper's tasks on MuJoCo, by name."""

from collections.abc import Callable
from typing import Any

from goalward.envs.core import Env
from goalward.envs.mujoco import ant, cheetah, engine, humanoid, manipulation, pusher, reacher
from goalward.envs.mujoco.task import Task

# Name -> (what builds it from its name and settings, the default settings).
TASKS: dict[str, tuple[Callable[[str, Any], Task], Any]] = {
    **ant.TASKS,
    **humanoid.TASKS,
    **cheetah.TASKS,
    **reacher.TASKS,
    **pusher.TASKS,
    **manipulation.TASKS,
}


def builder(name: str) -> Callable[[str, Any], Task]:
    """What builds the task of a name; its docstring says first what is to be done there."""
    return TASKS[name][0] if name in TASKS else ant.ant_maze  # a generalisation split


def make(name: str, settings: Any) -> Env:
    """Build the environment of a task, from its own settings."""
    return engine.make(builder(name)(name, settings))
