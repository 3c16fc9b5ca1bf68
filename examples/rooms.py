"""Two rooms are to be warmed to two temperatures: an environment of Gymnasium's kind, in NumPy alone.

    goalward check-env examples/rooms.py
    goalward train examples/rooms.py --out runs/rooms

Observation (3): the temperatures of both rooms and outdoors, in °C. Goal (2): those of the rooms.
Action (2), of 0 to 1: the power of each room's heater.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

STEP = 60.0  # s
CAPACITY = 2.0e5  # J/K, of a room
POWER = 3_000.0  # W, of a heater
WALL = 60.0  # W/K, from a room to the outdoors
DOOR = 40.0  # W/K, between the rooms
GUST = 0.2  # K, about, by which the outdoors changes in a step


class Rooms(gymnasium.Env):
    """Two rooms with a heater each and a door between them, in weather that changes."""

    def __init__(self, near: float):
        temperature = spaces.Box(-50.0, 100.0, (2,), np.float64)
        self.observation_space = spaces.Dict(
            observation=spaces.Box(-50.0, 100.0, (3,), np.float64),
            achieved_goal=temperature,
            desired_goal=temperature,
        )
        self.action_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.near = near

    def reset(self, *, seed=None, options=None):
        """Draw weather, cool rooms, and the temperatures to be reached."""
        super().reset(seed=seed)
        self.outdoors = self.np_random.uniform(-5.0, 15.0)
        self.rooms = self.np_random.uniform(12.0, 20.0, 2)
        self.goal = self.np_random.uniform(17.0, 24.0, 2)
        return self._observation(), {}

    def step(self, action):
        """Heat for a minute. Nothing ends an episode but its time limit."""
        lost = WALL * (self.rooms - self.outdoors) + DOOR * (self.rooms - self.rooms[::-1])
        self.rooms = self.rooms + STEP / CAPACITY * (POWER * np.asarray(action, np.float64) - lost)
        self.outdoors = self.outdoors + GUST * self.np_random.normal()
        obs = self._observation()
        return obs, self.compute_reward(obs["achieved_goal"], self.goal, {}), False, False, {}

    def compute_reward(self, achieved, desired, info):
        """Tell 0 at the goal and −1 elsewhere; where that changes is found by asking."""
        return -float(np.linalg.norm(achieved - desired) > self.near)

    def _observation(self):
        return {
            "observation": np.append(self.rooms, self.outdoors),
            "achieved_goal": self.rooms.copy(),
            "desired_goal": self.goal.copy(),
        }


def make(near: float = 0.5, minutes: int = 60):
    """Warm two rooms to two temperatures; how near, in K."""
    return gymnasium.wrappers.TimeLimit(Rooms(near), minutes)
