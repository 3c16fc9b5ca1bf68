"""The paper's tasks on MuJoCo, by name."""

from goalward.envs.core import Entry
from goalward.envs.mujoco import ant, cheetah, engine, humanoid, manipulation, models, pusher, reacher
from goalward.envs.mujoco.task import Task

__all__ = ["TASKS", "Task", "engine", "models"]

TASKS: dict[str, Entry] = {
    **ant.TASKS,
    **humanoid.TASKS,
    **cheetah.TASKS,
    **reacher.TASKS,
    **pusher.TASKS,
    **manipulation.TASKS,
}
