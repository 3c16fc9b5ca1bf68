"""Whether an environment that a person wrote gives what it says, before anything of it runs."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from goalward.envs.core import Env
from goalward.envs.own import told
from goalward.errors import UserError


def check(label: str, env: Env, path: Path | None = None) -> None:
    """Raise `UserError`, naming the function, where one raises or gives other shapes than it should."""
    spec = env.spec
    for size in ("obs_dim", "action_dim", "goal_dim", "episode_length"):
        value = getattr(spec, size)
        if type(value) is not int or value < 1:
            raise UserError(f"{label}: {size} is {value!r}; it must be a whole number from 1")

    def shape_of(what: str, function: Any, *given: Any) -> Any:
        with told(label, what, path):
            return jax.eval_shape(function, *given)

    state, goal = shape_of("reset", env.reset, jax.random.key(0))
    _expect(label, "the goal that reset gives", goal, (spec.goal_dim,), "goal_dim")
    if env.engine:
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], env.engine.blank(1))
    obs = shape_of("observe", env.observe, state)
    _expect(label, "what observe gives", obs, (spec.obs_dim,), "obs_dim")
    achieved = shape_of("achieved", spec.achieved, obs)
    _expect(label, "what is achieved", achieved, (spec.goal_dim,), "goal_dim")
    _expect(label, "what distance gives", shape_of("distance", spec.distance, achieved, goal), ())
    _expect(label, "what terminated gives", shape_of("terminated", env.terminated, state), (), kind=jnp.bool_)
    action = jax.ShapeDtypeStruct((spec.action_dim,), jnp.float32)
    if env.engine:
        shape_of("control", env.engine.control, state, action)
    elif env.step is None:
        raise UserError(f"{label} has neither a step nor an engine; give it one")
    else:
        kinds = [jax.tree.map(_kind, one) for one in (state, shape_of("step", env.step, state, action))]
        if kinds[0] != kinds[1]:
            raise UserError(
                f"{label}: step gives the state {kinds[1]}; it must be as that of reset, {kinds[0]}"
            )


def _expect(
    label: str, what: str, found: Any, shape: tuple[int, ...], size: str = "", kind: Any = jnp.float32
) -> None:
    if not hasattr(found, "shape") or found.shape != shape or found.dtype != kind:
        is_ = _kind(found) if hasattr(found, "shape") else f"a {type(found).__name__}"
        why = f", by its {size}" if size else ""
        raise UserError(f"{label}: {what} is {is_}; it must be {jnp.dtype(kind)} {shape}{why}")


def _kind(leaf: Any) -> str:
    return f"{leaf.dtype} {leaf.shape}"


def source(path: Path, model: bytes) -> str:
    """SHA-256 of what an environment is made of: its file, and its MuJoCo model if it has one."""
    return hashlib.sha256(path.read_bytes() + model).hexdigest()
