"""What a task of one's own on MuJoCo is made of: see docs/own-environment.md."""

from goalward.envs.mujoco.postures import places
from goalward.envs.mujoco.task import Marker, Physics, Start, Task, reach_spec

__all__ = ["Marker", "Physics", "Start", "Task", "places", "reach_spec"]
