"""Goalward trains agents to reach any commanded goal, by contrastive RL with very deep networks."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goalward.config import TrainConfig
    from goalward.errors import UserError
    from goalward.library import train
    from goalward.policy import evaluate, load_policy
    from goalward.saved import load_run
    from goalward.world import make_env

__all__ = ["TrainConfig", "UserError", "evaluate", "load_policy", "load_run", "make_env", "train"]
# No module may have a public name: Python sets a module as an attribute of its package.
_HOME = {
    "TrainConfig": "goalward.config",
    "UserError": "goalward.errors",
    "evaluate": "goalward.policy",
    "load_policy": "goalward.policy",
    "load_run": "goalward.saved",
    "make_env": "goalward.world",
    "train": "goalward.library",
}


def __getattr__(name: str) -> Any:
    """Load a public name or a module at its first use, so that `import goalward` stays quick."""
    if name == "__version__":
        return import_module("importlib.metadata").version("goalward")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in {module.name for module in iter_modules(__path__)}:
        return import_module(f"goalward.{name}")
    raise AttributeError(f"module 'goalward' has no attribute {name!r}")
