"""Goalward trains agents to reach any commanded goal, by contrastive RL with very deep networks."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goalward.config import TrainConfig
    from goalward.policy import load_policy

__all__ = ["TrainConfig", "load_policy"]
_HOME = {"TrainConfig": "goalward.config", "load_policy": "goalward.policy"}


def __getattr__(name: str) -> Any:
    """Load a public name or a module at its first use, so that `import goalward` stays quick."""
    if name == "__version__":
        return import_module("importlib.metadata").version("goalward")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in {module.name for module in iter_modules(__path__)}:
        return import_module(f"goalward.{name}")
    raise AttributeError(f"module 'goalward' has no attribute {name!r}")
