"""Which environment is made, told by plain data: each process of worlds makes its own."""

import importlib.util
import inspect
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium
import numpy as np


class Recipe(NamedTuple):
    """What `make` is told; JSON values only."""

    name: str  # by which people know it
    kwargs: dict[str, Any]
    id: str = ""  # in Gymnasium's registry, with the module that registers it before a colon
    path: str = ""  # or the file
    function: str = ""  # in it


def make(recipe: Recipe, **options: Any) -> gymnasium.Env:
    """Make one environment, without the registry's time limit: episodes are counted elsewhere."""
    if recipe.path:
        function = getattr(load(Path(recipe.path), Path(recipe.path).read_bytes()), recipe.function)
        taken = inspect.signature(function).parameters
        return function(**recipe.kwargs, **{name: value for name, value in options.items() if name in taken})
    return gymnasium.make(
        recipe.id, max_episode_steps=-1, disable_env_checker=True, **{**recipe.kwargs, **options}
    )


@lru_cache
def load(path: Path, code: bytes) -> ModuleType:
    """The module of just these bytes; modules beside its file can be imported, as by a script.

    It is loaded once in a process.
    """
    name = f"goalward_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101  # for any name that ends in .py
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    exec(compile(code, str(path), "exec"), module.__dict__)
    return module


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed the generators that all of a process share, as some environments draw from them; put them back."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def reset(env: gymnasium.Env, seed: int) -> tuple[Any, Mapping[str, Any]]:
    """Start the episode of a seed: a function of it alone, if the environment draws from its own generators."""
    with own_randomness(seed):
        return env.reset(seed=seed)
