"""What has to be known of an environment before worlds of it run, tried out on one or two of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from goalward.errors import UserError
from goalward.foreign import layout as layouts
from goalward.foreign import making, snapshot
from goalward.foreign.layout import Layout
from goalward.foreign.making import Recipe
from goalward.foreign.pool import told

HELD = 4  # steps that a random action is held
PLAYED = 2_000  # steps of random play, for goals to command
TRIED = 24  # steps, after half of which a state is taken out
HALVINGS = 60  # of a bracket around the distance at which a goal is reached
FAR = 1e6
RATE = 30.0  # steps a second of pictures, where an environment tells none


class Probe(NamedTuple):
    """What an environment turned out to be."""

    layout: Layout
    words: int  # of a snapshot; 0 where a state that is taken out does not go on in the same way
    episode_length: int | None  # that of the environment's own time limit
    threshold: float | None  # the distance below which it calls a goal reached
    rate: float  # steps a second, as it says for pictures


def look(recipe: Recipe, goal: Sequence[int]) -> Probe:
    """Try an environment out. Raises `UserError`, naming it, for what it is not or raises."""
    env = make(recipe)
    obs, info = _guarded(recipe, lambda: making.reset(env, 0))
    layout = layouts.of(recipe.name, env, info, goal)
    words = _guarded(recipe, lambda: _words(recipe, env, layout))
    rate = float(env.metadata.get("render_fps") or RATE)
    return Probe(layout, words, _time_limit(recipe, env), _own_threshold(env, obs, layout), rate)


def make(recipe: Recipe, **options: Any) -> gymnasium.Env:
    """Make one environment. Raises `UserError`, naming it, where that fails."""
    try:
        env = making.make(recipe, **options)
    except (UserError, KeyboardInterrupt):
        raise
    except (ModuleNotFoundError, gymnasium.error.DependencyNotInstalled) as error:
        raise UserError(f"{recipe.name} cannot be made: {_lacking(error)}") from error
    except Exception as error:  # whatever another's code raises
        raise UserError(f"{recipe.name} cannot be made: {told(error)}") from error
    if not isinstance(env, gymnasium.Env):
        raise UserError(f"{recipe.name} is a {type(env).__name__}; it must be a gymnasium.Env")
    return env


def _lacking(error: Exception) -> str:
    """What is not installed, and how it comes."""
    said = " ".join(str(error).split())
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if "imageio" in (name or said):
        return f'{said}; Gymnasium\'s tasks on MuJoCo need imageio: pip install "goalward[gym]"'
    return f"{said}; install {name.partition('.')[0]}" if name else said


def _guarded(recipe: Recipe, call: Any) -> Any:
    try:
        return call()
    except UserError:
        raise
    except Exception as error:  # whatever another's code raises
        raise UserError(f"{recipe.name}: {told(error)}") from error


def _time_limit(recipe: Recipe, env: gymnasium.Env) -> int | None:
    """Steps of an episode, as the registry has them, or a wrapper of the environment."""
    if recipe.id:
        return gymnasium.spec(recipe.id.rpartition(":")[2]).max_episode_steps
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return env.spec.max_episode_steps if env.spec else None


def _words(recipe: Recipe, env: gymnasium.Env, layout: Layout) -> int:
    """Words of a snapshot, if one that is put into another environment goes on there in the same way."""
    other = making.make(recipe)
    for seed in (1, 2):
        making.reset(env, seed)
        kept = snapshot.leaves(env)
        row = np.zeros(snapshot.size(kept), np.uint64)
        controls = _controls(layout, TRIED, seed)
        try:
            _play(env, layout, controls[: TRIED // 2])
            snapshot.take(env, kept, row)
            making.reset(other, seed + 2)
            _play(other, layout, controls[:3])
            snapshot.put(other, kept, row)
            ways = [_play(one, layout, controls[TRIED // 2 :]) for one in (env, other)]
        except Exception:  # of whatever kind, a state that cannot be kept
            return 0
        if not np.array_equal(*ways, equal_nan=True):
            return 0
    return len(row)


def _controls(layout: Layout, steps: int, seed: int) -> np.ndarray:
    """Random controls, each held for some steps, (steps, A) or (steps, 1)."""
    generator = np.random.default_rng(seed)
    number = -(-steps // HELD)
    if layout.discrete:
        drawn = generator.integers(layout.action_dim, size=(number, 1))
    else:
        drawn = generator.uniform(layout.low, layout.high, (number, layout.action_dim))
    return np.repeat(drawn.astype(np.float32), HELD, axis=0)[:steps]


def _play(env: gymnasium.Env, layout: Layout, controls: np.ndarray) -> np.ndarray:
    """Rows that some controls lead to, (steps, R); what is over starts anew."""
    read, act = layouts.reader(env, layout), layouts.actor(env, layout)
    rows = np.zeros((len(controls), layout.row_dim), np.float32)
    for t, control in enumerate(controls):
        obs, _, terminated, truncated, _ = env.step(act(control))
        read(obs, rows[t])
        if terminated or truncated:
            making.reset(env, t)
    return rows


def achieved_by_chance(recipe: Recipe, layout: Layout) -> np.ndarray:
    """What random play achieves, (steps, G): goals where an environment commands none."""
    env = make(recipe)

    def play() -> np.ndarray:
        making.reset(env, 0)
        return _play(env, layout, _controls(layout, PLAYED, 0))

    rows = _guarded(recipe, play)
    return rows[:, list(layout.goal)]


def _own_threshold(env: gymnasium.Env, obs: Any, layout: Layout) -> float | None:
    """The distance below which an environment calls a goal reached: as it says, or as its rewards tell."""
    inner = env.unwrapped
    for name in ("distance_threshold", "goal_tol", "_goal_tol"):
        value = getattr(inner, name, None)
        if isinstance(value, float) and value > 0:
            return value
    if layout.goal or not hasattr(inner, "compute_reward"):
        return None
    return _rewarded_distance(inner, np.asarray(obs["desired_goal"], np.float64))


def _rewarded_distance(env: Any, goal: np.ndarray) -> float | None:
    """Where a sparse reward changes on the way out from a goal along its first axis; None for another."""

    def reward(distance: float) -> float:
        achieved = goal.copy()
        achieved.flat[0] += distance
        info: Mapping[str, Any] = {}
        return float(env.compute_reward(achieved, goal, info))

    near, far = 0.0, FAR
    try:
        at_goal, away = reward(near), reward(far)
        if at_goal <= away:
            return None
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            now = reward(middle)
            if now not in (at_goal, away):
                return None
            near, far = (middle, far) if now == at_goal else (near, middle)
    except Exception:  # of whatever kind, a reward that cannot be asked so
        return None
    return float(f"{far:.6g}")
