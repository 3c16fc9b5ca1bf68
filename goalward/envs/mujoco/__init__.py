"""The paper's tasks on MuJoCo, by name."""

from goalward.envs.core import Entry
from goalward.envs.mujoco import ant, cheetah, engine, humanoid, manipulation, pusher, reacher

__all__ = ["TASKS", "engine"]

TASKS: dict[str, Entry] = {
    **ant.TASKS,
    **humanoid.TASKS,
    **cheetah.TASKS,
    **reacher.TASKS,
    **pusher.TASKS,
    **manipulation.TASKS,
}
