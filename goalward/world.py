"""One world of any environment, stepped by hand, by Gymnasium's interface for environments with goals."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Key
from numpy.typing import ArrayLike

from goalward import envs, prng
from goalward.envs import core
from goalward.errors import UserError
from goalward.limits import SEEDS, check_number
from goalward.rollout import compiled, starter

GOAL = "goal"  # the one option of `reset`


class Look(NamedTuple):
    """What is seen of N worlds, leaves (N, …)."""

    obs: Array
    achieved: Array
    goal: Array
    distance: Array
    success: Array
    terminated: Array
    truncated: Array  # at the step that the time limit allows as the last, or by the environment itself
    over: Array  # the environment has ended the episode: the world stays where it is
    steps: Array


class Programs(NamedTuple):
    """The compiled parts of stepping by hand."""

    start: Callable[[Key[Array, " N"]], core.Worlds]
    look: Callable[[core.Worlds], Look]
    step: Callable[[core.Worlds, Any], tuple[core.Worlds, Look]]  # (worlds, action (N, A))
    success: Callable[[Any, Any], Array]  # (achieved (…, G), goal (…, G)) -> (…,)


def programs(env: core.Env) -> Programs:
    """Make the programs, each of which compiles at its first call: one a step, around an engine two."""

    def settle(worlds: core.Worlds, order: core.Order, state: Any) -> tuple[core.Worlds, Look]:
        settled = core.settle(env, worlds, order, state)
        return settled._replace(state=()), look(env, settled)  # an engine's state stays in its memory

    order = partial(core.order_once, env)
    if env.engine:
        order, settle = jax.jit(order), jax.jit(settle)

    def step(worlds: core.Worlds, action: Any) -> tuple[core.Worlds, Look]:
        given = order(worlds, action)
        state = core.simulate(env, worlds.state, given)
        settled, seen = settle(worlds, given, state)
        return settled._replace(state=state), seen

    start = compiled(env, starter(env))
    return Programs(start, jax.jit(partial(look, env)), compiled(env, step), jax.jit(env.spec.success))


def look(env: core.Env, worlds: core.Worlds) -> Look:
    """What is seen of worlds as they stand."""
    spec, obs = env.spec, core.observe(env, worlds)
    achieved = spec.achieved(obs)
    truncated = worlds.steps == spec.episode_length
    if env.truncated is not None:
        truncated |= jax.vmap(env.truncated)(worlds.state)
    return Look(
        obs=obs,
        achieved=achieved,
        goal=worlds.goal,
        distance=spec.distance(achieved, worlds.goal),
        success=spec.success(achieved, worlds.goal),
        terminated=worlds.terminated,
        truncated=truncated,
        over=core.ended(env, worlds),
        steps=worlds.steps,
    )


class World(gymnasium.Env[dict[str, np.ndarray], Any]):
    """One world of an environment. `env` is the environment, `env.spec` tells its sizes.

    Observations are {"observation" (D,), "achieved_goal" (G,), "desired_goal" (G,)}, float32. The reward of a
    step is 1 where it led to the goal, else 0. Actions are (A,) in [−1, 1], or the number of a choice.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's

    def __init__(self, env: core.Env):
        self.env, sizes = env, env.spec
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            observation=_numbers(sizes.obs_dim),
            achieved_goal=_numbers(sizes.goal_dim),
            desired_goal=_numbers(sizes.goal_dim),
        )
        self.action_space: spaces.Space[Any] = (
            spaces.Discrete(sizes.action_dim)
            if sizes.discrete
            else spaces.Box(-1.0, 1.0, (sizes.action_dim,), np.float32)
        )
        self._programs = programs(env)
        self._worlds: core.Worlds | None = None  # until `reset`
        self._seen: Look  # leaves (…), of the one world

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode: that of a seed, or the next one. Options: `goal` (G,), in place of the drawn one.

        Episodes after a seed are those that a world of a run has, one after the other. Raises `UserError`.
        """
        if seed is not None:
            check_number("seed", seed, *SEEDS)
        super().reset(seed=seed)
        options = dict(options or {})
        goal = options.pop(GOAL, None)
        if options:
            raise UserError(f"reset has no option {', '.join(map(repr, options))}; its one option is {GOAL!r}")
        if goal is not None:
            goal = self._checked("goal", goal, self.env.spec.goal_dim)
        self._start(self._next_key(seed))
        if goal is not None:
            self._command(goal)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take a step: observation, reward, whether it terminated, whether the time limit is reached, info.

        One may go on after the time limit; a world that terminated stays where it is. Raises `UserError` for
        what is no action, and before the first `reset`.
        """
        self._worlds, seen = self._programs.step(self._running(), self._row_of(action)[None])
        self._see(seen)
        seen = self._seen
        reward = float(seen.success)
        return self._observation(), reward, bool(seen.terminated), bool(seen.truncated), self._info()

    def compute_reward(self, achieved: ArrayLike, desired: ArrayLike, info: Any = None) -> Any:
        """Tell 1 where goals (…, G) are reached by what is achieved (…, G), else 0; (…,) float32."""
        del info
        pair = (np.asarray(goal, np.float32) for goal in (achieved, desired))
        return np.float32(self._programs.success(*pair))

    def close(self) -> None:
        """End what an engine has open. A `reset` opens it again."""
        self._worlds = None
        engine = self.env.engine
        if engine and engine.close:
            engine.close()

    @property
    def goal(self) -> np.ndarray:
        """What is commanded, (G,). It may be set at any time, holds at once, and stays until the next episode.

        Of a goal that moves with the world, the next step tells where it is.
        """
        return np.array(self._now().goal)

    @goal.setter
    def goal(self, goal: ArrayLike) -> None:
        self._running()
        self._command(self._checked("goal", goal, self.env.spec.goal_dim))

    @property
    def obs(self) -> np.ndarray:
        """The observation, (D,)."""
        return np.array(self._now().obs)

    @property
    def achieved(self) -> np.ndarray:
        """Where the world is, as a goal, (G,)."""
        return np.array(self._now().achieved)

    @property
    def distance(self) -> float:
        """From what is achieved to the goal, in the environment's unit."""
        return float(self._now().distance)

    @property
    def success(self) -> bool:
        """Whether the goal is reached."""
        return bool(self._now().success)

    @property
    def over(self) -> bool:
        """Whether the environment has ended the episode, so that the world stays where it is until `reset`."""
        return bool(self._now().over)

    @property
    def steps(self) -> int:
        """Steps taken in this episode."""
        return int(self._now().steps)

    @property
    def state(self) -> Any:
        """The state of the world, a pytree as `env` has it for one world."""
        self._worlds = core.complete(self.env, self._running())  # engines leave out what is needed seldom
        return jax.tree.map(lambda leaf: leaf[0], self._worlds.state)

    def _next_key(self, seed: int | None) -> Array:
        """The key of the episode of a seed, or of the one that follows."""
        if self._worlds is not None and seed is None:
            return jax.random.fold_in(self._worlds.key[0], 1)  # as `core.order_next` does
        return prng.key(int(self.np_random.integers(SEEDS[1])) if seed is None else int(seed))

    def _start(self, key: Array) -> None:
        self._worlds = self._programs.start(key[None])
        self._see(self._programs.look(self._worlds))

    def _command(self, goal: np.ndarray) -> None:
        self._worlds = self._running()._replace(goal=jnp.asarray(goal[None]))
        self._see(self._programs.look(self._worlds))

    def _see(self, seen: Look) -> None:
        self._seen = jax.tree.map(lambda leaf: np.asarray(leaf)[0], seen)

    def _running(self) -> core.Worlds:
        if self._worlds is None:
            raise UserError(f"no episode of {self.env.name} has begun; call reset() first")
        return self._worlds

    def _now(self) -> Look:
        self._running()
        return self._seen

    def _observation(self) -> dict[str, np.ndarray]:
        seen = self._seen
        found = {"observation": seen.obs, "achieved_goal": seen.achieved, "desired_goal": seen.goal}
        return {name: np.array(value) for name, value in found.items()}

    def _info(self) -> dict[str, Any]:
        return {"is_success": bool(self._seen.success), "distance": float(self._seen.distance)}

    def _row_of(self, action: Any) -> np.ndarray:
        """An action as a row (A,), of a choice one-hot."""
        size, discrete = self.env.spec.action_dim, self.env.spec.discrete
        if not discrete:
            return self._checked("action", action, size)
        given = np.asarray(action)
        if given.ndim == 0 and np.issubdtype(given.dtype, np.integer) and 0 <= given < size:
            return np.eye(size, dtype=np.float32)[given]
        if given.shape == (size,) and (np.sort(given) == [0] * (size - 1) + [1]).all():
            return given.astype(np.float32)
        raise UserError(f"action is {action!r:.80}; it must be a whole number in 0 … {size - 1}, or one-hot")

    def _checked(self, name: str, value: ArrayLike, size: int) -> np.ndarray:
        """Numbers (size,) that a person gives. Raises `UserError` for others."""
        try:
            row = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            row = np.array(np.nan)
        if row.shape != (size,) or not np.isfinite(row).all():
            raise UserError(f"{name} is {value!r:.80}; of {self.env.name} it must be {size} finite numbers")
        return row


def _numbers(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def make_env(name: str, /, **settings: Any) -> World:
    """Make one world of an environment, by the name that the command line takes, `my_task.py` too.

    Settings are those of the environment. Raises `UserError` for an unknown name or setting, or a wrong value.
    """
    return World(envs.make(envs.asked(name), settings))
