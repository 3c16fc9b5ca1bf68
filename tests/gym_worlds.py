"""Environments by Gymnasium's interface, as somebody else may write them; each function is one of `tests`."""

import os
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
from gymnasium import spaces


class Drift(gymnasium.Env):
    """A point that drifts, pushed by actions and by noise; goals apart from the observation."""

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(self, noise=0.0, reach=0.25, hidden=False, render_mode=None, slow=False):
        self.observation_space = spaces.Dict(
            observation=spaces.Box(-np.inf, np.inf, (4,), np.float64),
            achieved_goal=spaces.Box(-np.inf, np.inf, (2,), np.float64),
            desired_goal=spaces.Box(-np.inf, np.inf, (2,), np.float64),
        )
        self.action_space = spaces.Box(-2.0, 1.0, (2,), np.float32)
        self.render_mode, self.noise, self.reach = render_mode, noise, reach
        self.place, self.speed, self.steps, self.lucky = np.zeros(2), (0.0, 0.0), 0, None
        self.secret = SimpleNamespace(wind=0.0) if hidden else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed, self.steps = self.np_random.uniform(-1, 1, 2), (0.0, 0.0), 0
        self.goal = np.float32(self.np_random.uniform(-1, 1, 2))
        self.lucky = bool(self.np_random.integers(2))
        if self.secret:
            self.secret.wind = 0.0
        return self._observation(), {}

    def _observation(self):
        return {
            "observation": np.concatenate([np.sin(self.place), self.speed]),
            "achieved_goal": self.place.copy(),
            "desired_goal": self.goal,
        }

    def step(self, action):
        assert self.action_space.contains(action), action
        self.speed = tuple(0.9 * np.asarray(self.speed) + 0.1 * action)
        self.place = self.place + 0.1 * np.asarray(self.speed) + self.noise * self.np_random.normal(size=2)
        if self.secret:
            self.secret.wind += 0.01
            self.place = self.place + self.secret.wind
        self.steps += 1
        return self._observation(), 0.0, bool(self.place[0] > 2.0), self.place[1] > 2.0, {}

    def compute_reward(self, achieved, desired, info):
        return -(np.linalg.norm(achieved - desired) > self.reach).astype(np.float32)

    def render(self):
        picture = np.zeros((32, 32, 3), np.uint8)
        row, column = np.clip((self.place * 8 + 16).astype(int), 0, 31)
        picture[row, column] = 255
        return picture


class Line(gymnasium.Env):
    """Choices on a line; commands no goals. What it does wrong is a setting."""

    def __init__(self, wrong="", first=5):
        self.observation_space = spaces.Box(-9, 9, (3,), np.float32)
        self.action_space = spaces.Discrete(3, start=first)
        self.wrong, self.first, self.x, self.t = wrong, first, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(-3, 4)), 0
        return self._seen(), {}

    def _seen(self):
        return np.array([self.x, self.t / 10, np.nan if self.wrong == "nan" and self.t == 3 else 0], np.float32)

    def step(self, action):
        self.t += 1
        if self.wrong == "raises" and self.t == 30:
            raise ValueError("the bridge is out")
        if self.wrong == "dies" and self.t == 4 and "foreign" in sys.argv[0]:  # in a process of worlds
            os._exit(7)
        self.x = int(np.clip(self.x + action - self.first - 1, -9, 9))
        return self._seen(), 0.0, self.x == 9, False, {}


class Whole(Line):
    """It commands whole observations, once, when an episode starts."""

    def reset(self, *, seed=None, options=None):
        obs, _ = super().reset(seed=seed)
        return obs, {"goal": np.array([self.np_random.integers(-9, 10), 0, 0], np.float32)}


def drift(noise: float = 0.0, reach: float = 0.25, hidden: bool = False, render_mode=None):
    """Push a point about."""
    return Drift(noise, reach, hidden, render_mode)


def line(wrong: str = "", first: int = 5):
    """Walk along a line."""
    return Line(wrong, first)


def whole(first: int = 0):
    """Walk along a line, to a place that is told."""
    return Whole(first=first)


def limited(length: int = 6):
    """A line that ends episodes itself."""
    return gymnasium.wrappers.TimeLimit(Line(), length)


def no_env(size: int = 3):
    return [size]
