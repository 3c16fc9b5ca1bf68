"""How the spaces of a Gymnasium environment become rows of numbers, and its goals and actions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from goalward.errors import UserError

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")
LARGEST = 100_000  # numbers of an observation: more are pictures


class Layout(NamedTuple):
    """What goes where. A row holds the observation and, where that is apart, what was achieved."""

    obs_dim: int  # of the observation alone
    goal_dim: int
    action_dim: int  # numbers, or choices
    low: np.ndarray  # (A,) of actions; empty where they are choices
    high: np.ndarray
    goal: tuple[int, ...]  # which elements of the observation are achieved; none where that is apart
    commands: bool  # whether the environment says by itself which goal is commanded

    @property
    def discrete(self) -> bool:
        """Whether an action is a choice."""
        return not len(self.low)

    @property
    def row_dim(self) -> int:
        """Numbers of a row."""
        return self.obs_dim + (0 if self.goal else self.goal_dim)


def of(name: str, env: gymnasium.Env, info: Mapping[str, Any], goal: Sequence[int]) -> Layout:
    """The layout of an environment whose `reset` gave `info`. `goal`: which elements a goal is of.

    Raises `UserError`, naming the space, for what is not numbers.
    """
    action = _action(name, env.action_space)
    space = env.observation_space
    if isinstance(space, spaces.Dict) and set(GOAL_KEYS) <= set(space.spaces):
        if goal:
            raise UserError(
                f"{name} says by itself what its goals are; leave out the setting goal={list(goal)}"
            )
        sizes = [_size(name, key, space[key]) for key in GOAL_KEYS]
        if sizes[1] != sizes[2]:
            raise UserError(f"{name}: achieved_goal has {sizes[1]} numbers and desired_goal {sizes[2]}")
        return Layout(sizes[0], sizes[1], *action, (), commands=True)
    size = _size(name, "observation", space)
    commands = "goal" in info
    if commands and np.size(info["goal"]) != size:
        raise UserError(f"{name}: its goal has {np.size(info['goal'])} numbers, and its observation {size}")
    chosen = _indices(name, size, goal, np.asarray(info["goal"]) if commands else None)
    return Layout(size, len(chosen), *action, chosen, commands=commands)


def _indices(name: str, size: int, goal: Sequence[int], commanded: np.ndarray | None) -> tuple[int, ...]:
    """Elements of the observation that a goal is of."""
    if not goal:
        what = "commands whole observations as goals" if commanded is not None else "commands no goals"
        raise UserError(
            f"{name} {what}: say which of the {size} elements of its observation are to be reached, "
            "such as --env-settings goal=[0,1]"
        )
    for index in goal:
        if type(index) is not int or not 0 <= index < size:
            raise UserError(f"{name} setting goal has {index!r}; its observation has elements 0 to {size - 1}")
    if len(set(goal)) < len(goal):
        raise UserError(f"{name} setting goal is {list(goal)}; name each element once")
    return tuple(goal)


def _size(name: str, part: str, space: spaces.Space) -> int:
    """Numbers of a space."""
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.Dict):
        raise UserError(
            f"{name}: its {part} is {space}; it must be numbers (Box, Discrete, MultiBinary, or a Dict "
            "of them): wrap it, in a file of your own"
        )
    size = spaces.flatdim(space)
    if size > LARGEST:
        raise UserError(
            f"{name}: its {part} has {size} numbers, as a picture has; goals of pictures are not learned"
        )
    return size


def _action(name: str, space: spaces.Space) -> tuple[int, np.ndarray, np.ndarray]:
    """How many numbers or choices an action has, and the ranges of the numbers."""
    if isinstance(space, spaces.Discrete):
        return int(space.n), np.zeros(0, np.float32), np.zeros(0, np.float32)
    if not isinstance(space, spaces.Box):
        raise UserError(
            f"{name}: its action is {space}; it must be a Box or Discrete: wrap it, in a file of your own"
        )
    low, high = (np.asarray(bound, np.float32).ravel() for bound in (space.low, space.high))
    for index, (least, most) in enumerate(zip(low, high, strict=True)):
        if not np.isfinite([least, most]).all() or least >= most:
            raise UserError(
                f"{name}: element {index} of its action is from {least} to {most}; it needs a "
                "finite range: wrap it, as with gymnasium.wrappers.ClipAction, in a file of your own"
            )
    return len(low), low, high


def reader(env: gymnasium.Env, layout: Layout) -> Callable[[Any, np.ndarray], None]:
    """Make the function that writes what `step` or `reset` observed into a row (R,)."""
    space, size = env.observation_space, layout.obs_dim
    if not layout.goal:
        parts = [_flat(space[key]) for key in GOAL_KEYS[:2]]  # type: ignore[index]

        def read(obs: Any, row: np.ndarray) -> None:
            row[:size] = parts[0](obs["observation"])
            row[size:] = parts[1](obs["achieved_goal"])

        return read
    flat = _flat(space)

    def read_whole(obs: Any, row: np.ndarray) -> None:
        row[:] = flat(obs)

    return read_whole


def commanded(env: gymnasium.Env, layout: Layout) -> Callable[[Any, Mapping[str, Any]], np.ndarray] | None:
    """Make the function of an observation and `info` that gives the commanded goal (G,), if there is one."""
    if not layout.commands:
        return None
    if not layout.goal:
        flat = _flat(env.observation_space["desired_goal"])  # type: ignore[index]
        return lambda obs, _: flat(obs["desired_goal"])
    chosen = list(layout.goal)
    return lambda _, info: np.ravel(info["goal"])[chosen] if "goal" in info else None  # type: ignore[return-value]


def _flat(space: spaces.Space) -> Callable[[Any], Any]:
    if isinstance(space, spaces.Box):
        return _of_box(space)
    return lambda value: spaces.flatten(space, value)


def _of_box(space: spaces.Box) -> Callable[[Any], np.ndarray]:
    size = int(np.prod(space.shape))

    def flat(value: Any) -> np.ndarray:
        numbers = np.ravel(value)
        if numbers.size != size:
            raise ValueError(f"an observation has shape {np.shape(value)}, but its space says {space.shape}")
        return numbers

    return flat


def actor(env: gymnasium.Env, layout: Layout) -> Callable[[np.ndarray], Any]:
    """Make the function that turns a control (numbers in range, or the number of a choice) into an action."""
    space = env.action_space
    if layout.discrete:
        first = int(space.start)  # type: ignore[attr-defined]
        return lambda control: first + int(control[0])
    shape, dtype = space.shape, space.dtype
    return lambda control: control.astype(dtype).reshape(shape)
