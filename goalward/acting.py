"""Acting by a policy, whatever computes it: NumPy alone."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from goalward.errors import UserError


@runtime_checkable
class Sizes(Protocol):
    """What of an environment acting needs to know."""

    @property
    def obs_dim(self) -> int: ...
    @property
    def goal_dim(self) -> int: ...
    @property
    def action_dim(self) -> int: ...


class Policy:
    """What a run learned to do: action = tanh(mean of π(· | obs, goal)), or one of some choices, one-hot.

    Where it decides on `chunk` = H > 1 actions at a time, `act` gives one a call: it remembers the rest, and
    looks at its inputs again after H calls. Then `reset` belongs before the first step of each episode.
    """

    def __init__(self, spec: Sizes, function: Callable[[Any, Any], Any], chunk: int = 1):
        self.spec, self.chunk = spec, chunk
        self._function = function  # (obs (N, D), goal (N, G)) -> (N, H·A)
        self._actions = np.zeros((0, chunk, spec.action_dim), np.float32)  # of each row's chunk
        self._taken = np.zeros(0, int)  # how many of them; no rows before the first call

    def reset(self, rows: ArrayLike | bool | None = None) -> None:
        """Forget the rest of chunks: of all rows, or of those whose episodes start anew, where `rows` is true.

        Without `rows` the next call may have another number of them. Raises `UserError` if it is not (N,) bool.
        """
        if rows is None:
            self._taken = self._taken[:0]
        elif len(self._taken):
            anew = np.atleast_1d(np.asarray(rows))
            if anew.dtype != bool or anew.shape != self._taken.shape:
                raise UserError(f"rows is {anew.dtype} {anew.shape}; it must be bool ({len(self._taken)},)")
            self._taken = np.where(anew, self.chunk, self._taken)

    def act(self, obs: ArrayLike, goal: ArrayLike) -> np.ndarray:
        """Action (A,) for an observation (D,) and a goal (G,), or (N, A) for (N, D) and (N, G).

        Raises `UserError` for other shapes, and for another number of rows than before in the midst of chunks.
        """
        obs, goal = as_rows(self.spec, obs, goal)
        rows = np.atleast_2d(obs), np.atleast_2d(goal)
        action = self._function(*rows) if self.chunk == 1 else self._next(*rows)
        return np.asarray(action).reshape(*obs.shape[:-1], self.spec.action_dim)

    def _next(self, obs: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """The next action of each row's chunk, (N, A); where one is over, the first of a new one."""
        number = len(obs)
        if not len(self._taken):
            self._actions = np.zeros((number, *self._actions.shape[1:]), np.float32)
            self._taken = np.full(number, self.chunk)
        if len(self._taken) != number:
            raise UserError(
                f"obs has {number} rows, but the last call had {len(self._taken)}, which are within chunks of "
                f"{self.chunk} actions; call reset() first"
            )
        due = self._taken == self.chunk
        if due.any():
            new = np.asarray(self._function(obs, goal)).reshape(self._actions.shape)
            self._actions = np.where(due[:, None, None], new, self._actions)
            self._taken = np.where(due, 0, self._taken)
        self._taken = self._taken + 1
        return self._actions[np.arange(number), self._taken - 1]


def as_rows(spec: Sizes, obs: ArrayLike, goal: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Observations and goals as arrays of 32 bits. Raises `UserError` for what is no number or does not fit."""
    obs, goal = _rows("obs", obs, spec.obs_dim), _rows("goal", goal, spec.goal_dim)
    if obs.shape[:-1] != goal.shape[:-1]:
        raise UserError(f"obs and goal must come in equal numbers, not as {obs.shape} and {goal.shape}")
    return obs, goal


def _rows(name: str, value: ArrayLike, size: int) -> np.ndarray:
    try:
        given = np.asarray(value)
        if given.dtype.kind in "cUS":
            raise TypeError
        with np.errstate(over="ignore"):  # too large for 32 bits: infinite
            rows = given.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} is {value!r:.80}; it must be numbers, ({size},) or (N, {size})") from None
    if rows.ndim not in (1, 2) or rows.shape[-1] != size:
        raise UserError(f"{name} has shape {rows.shape}; it must be ({size},) or (N, {size})")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(np.atleast_2d(rows)))[0]
        told = f"{name} holds {np.atleast_2d(rows)[row, column]} (row {row}, element {column})"
        raise UserError(f"{told}; a policy acts on finite numbers alone")
    return rows
