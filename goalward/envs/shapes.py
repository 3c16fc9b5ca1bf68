"""Whether functions of an environment fit each other and what it declares, told by shapes before any step."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from goalward import prng
from goalward.envs import core
from goalward.errors import MachineError, UserError
from goalward.findings import Finding, problem

BATCH = (2, 3)  # axes in front, as of worlds and time, that functions of `EnvSpec` have to take
NOT_PURE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


class BrokenError(Exception):
    """A function of an environment raised, or gave what it must not."""

    def __init__(self, finding: Finding):
        super().__init__(finding.what)
        self.finding = finding


def broken(env: core.Env) -> list[Finding]:
    """Functions that raise, and sizes that are not as declared. Nothing is computed but shapes."""
    try:
        return [*_of_worlds(env), *_of_spec(env)]
    except BrokenError as error:
        return [error.finding]


def guarded(env: core.Env) -> core.Env:
    """Let an engine say by `BrokenError` where it raises, or changes the shape of a state."""
    if env.engine is None:
        return env
    advance = env.engine.advance

    def checked(state: Any, *order: Any) -> Any:
        new = call("engine.advance", advance, state, *order)
        _check_kept("engine.advance", state, new)
        return new

    return env._replace(engine=env.engine._replace(advance=checked))


def call(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives. Raises `BrokenError` with its name, where it raises anything but for people."""
    try:
        return function(*args)
    except (UserError, MachineError, MemoryError, BrokenError):
        raise
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # how JAX says that there is no memory
            raise
        told = next(iter(str(error).splitlines()), "")
        remedy = "it has to work for one world, on arrays of the declared sizes"
        if isinstance(error, NOT_PURE):
            remedy = (
                "it has to be pure JAX: jnp.where in place of `if`, jax.numpy in place of numpy and float()"
            )
        raised = f"{name} raises {type(error).__name__}{_place(error)}: {told}"
        raise BrokenError(problem("raises", raised, remedy, function=name)) from error


def _place(error: Exception) -> str:
    """Where in a file that is not of an installed package an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [at for at in frames if "site-packages" not in at.filename and at.filename != __file__]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _shape_of(name: str, function: Callable[..., Any], *args: Any) -> Any:
    return call(name, lambda: jax.eval_shape(function, *args))


def _of_worlds(env: core.Env) -> list[Finding]:
    """Functions of one world, in the order in which an episode calls them."""
    spec = env.spec
    for size in ("obs_dim", "action_dim", "goal_dim", "episode_length"):
        value = getattr(spec, size)
        if type(value) is not int or value < 1:
            told = f"{size} is {value!r}; it must be a whole number from 1"
            raise BrokenError(problem("sizes", told, "declare it in EnvSpec"))
    if not 0 < float(spec.threshold) < float("inf"):
        told = f"threshold is {spec.threshold}; a goal is reached at a smaller distance, so it must be above 0"
        raise BrokenError(problem("sizes", told, "declare it in EnvSpec, in the environment's unit"))
    given = _shape_of("reset", env.reset, prng.key(0))
    if not (isinstance(given, tuple) and len(given) == 2):
        found = f"reset gives {type(given).__name__}; it must give a pair (start, goal)"
        raise BrokenError(problem("sizes", found, "return start, goal"))
    state, goal = given
    found = _vector("reset", "a goal", "goal_dim", goal, spec.goal_dim)
    action = jax.ShapeDtypeStruct((spec.action_dim,), jnp.float32)
    if env.engine:
        worlds = call("engine.blank", env.engine.blank, BATCH[0])
        state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), worlds)
        _shape_of("engine.control", env.engine.control, state, action)
    elif env.step is None:
        raise BrokenError(problem("sizes", "there is neither a step nor an engine", "give Env a step"))
    else:
        _check_kept("step", state, _shape_of("step", env.step, state, action))
    obs = _shape_of("observe", env.observe, state)
    found += _vector("observe", "an observation", "obs_dim", obs, spec.obs_dim)
    ended = _shape_of("terminated", env.terminated, state)
    if (ended.shape, ended.dtype) != ((), jnp.bool_):
        told = f"terminated gives {ended.dtype} of shape {ended.shape}; it must give one truth value"
        found.append(problem("sizes", told, "compare, and reduce with jnp.any or jnp.all"))
    if env.follow is not None:
        moved = _shape_of("follow", env.follow, state, goal)
        found += _vector("follow", "a goal that moves", "goal_dim", moved, spec.goal_dim)
    return found


def _of_spec(env: core.Env) -> list[Finding]:
    """Functions of observations and goals, which have to take axes in front."""
    spec = env.spec
    obs, goal = (jax.ShapeDtypeStruct((*BATCH, n), jnp.float32) for n in (spec.obs_dim, spec.goal_dim))
    sizes = [("spec.achieved", "goal_dim, of what is achieved,", spec.achieved, obs, spec.goal_dim)]
    if spec.sight is not None:
        sight = spec.sight
        sizes += [
            ("spec.sight.obs", "obs_dim of what is seen", sight.obs, obs, sight.obs_dim),
            ("spec.sight.goal", "goal_dim of what is seen", sight.see_goal, goal, sight.goal_dim),
        ]
    found = []
    for name, size, function, given, wanted in sizes:
        result = _shape_of(name, function, given)
        if result.shape[:-1] != BATCH:
            told = f"{name} makes shape {result.shape} of {given.shape}; it must keep axes in front"
            found.append(problem("sizes", told, "take elements by x[..., i], and reduce along axis=-1"))
        elif result.shape[-1] != wanted:
            found.append(_size(size, wanted, result.shape[-1]))
    for name, function in (("spec.distance", spec.distance), ("spec.success", spec.success)):
        if found:
            break
        result = _shape_of(name, function, goal, goal)
        if result.shape != BATCH:
            told = f"{name} makes shape {result.shape} of two of {goal.shape}; it must give one number for each"
            found.append(problem("sizes", told, "reduce along axis=-1"))
    return found


def _vector(function: str, what: str, size: str, given: Any, wanted: int) -> list[Finding]:
    """A vector of floats of the declared size. Raises `BrokenError` for anything else but another size."""
    is_array = isinstance(given, jax.ShapeDtypeStruct)
    if not is_array or len(given.shape) != 1 or not jnp.issubdtype(given.dtype, jnp.floating):
        is_ = f"{given.dtype} of shape {given.shape}" if is_array else type(given).__name__
        told = f"{what} is {is_}, as {function} gives it; it must be a vector of {wanted} floats"
        raise BrokenError(problem("sizes", told, "make one by jnp.concatenate or jnp.stack, and astype"))
    return [_size(size, wanted, given.shape[0])] if given.shape[0] != wanted else []


def _size(name: str, said: int, found: int) -> Finding:
    return problem("sizes", f"{name} is {said}, but there are {found}", "declare it in EnvSpec", declared=said,
                   found=found)  # fmt: skip


def _check_kept(name: str, before: Any, after: Any) -> None:
    """Raise `BrokenError` where a state is not of the shape of the one that it follows."""
    shapes = [[(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(tree)] for tree in (before, after)]
    trees = [jax.tree.structure(tree) for tree in (before, after)]
    if trees[0] != trees[1]:
        told = f"{name} gives a state that is built otherwise than the one before: {trees[1]}, not {trees[0]}"
        raise BrokenError(problem("sizes", told, "give back the same NamedTuple or dataclass"))
    for number, (old, new) in enumerate(zip(*shapes, strict=True)):
        if old != new:
            told = (
                f"{name} gives {new[1]} of shape {new[0]} for part {number} of the state, which was {old[1]} "
            )
            told += f"of shape {old[0]}"
            raise BrokenError(problem("sizes", told, "keep shapes and types of a state, by reshape and astype"))
