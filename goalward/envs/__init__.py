"""Environments by name."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from goalward.envs import maze, point
from goalward.envs.core import Env
from goalward.errors import UserError


def names() -> list[str]:
    """All names that `make` takes, apart from the generalisation splits `…_gen_1f2f`."""
    return [f"point_{layout}" for layout in maze.GRIDS]


def make(name: str, settings: Mapping[str, Any] | None = None) -> Env:
    """Build the environment `name`, with some of its settings changed.

    Raises `UserError` for an unknown name, and for a setting that is unknown or out of range.
    """
    family, _, layout = name.partition("_")
    if family != "point" or not (layout in maze.GRIDS or "_maze_gen_" in layout):
        near = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`goalward envs` lists them all"
        raise UserError(f"unknown environment {name!r}; {hint}")
    return point.make(name, maze.parse(layout), parse_settings(point.PointSettings, name, settings or {}))


def describe() -> list[dict[str, Any]]:
    """One row an environment: name, sizes, default settings."""
    settings = dataclasses.asdict(point.PointSettings())
    rows = []
    for name in names():
        spec = make(name).spec
        sizes = {size: getattr(spec, size) for size in ("obs_dim", "goal_dim", "action_dim", "episode_length")}
        rows.append({"name": name, **sizes, "settings": settings})
    return rows


def parse_settings(kind: type, env_name: str, settings: Mapping[str, Any]) -> Any:
    """Build the settings dataclass `kind`, with a clear error for a name or type that is wrong."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in settings.items():
        if name not in fields:
            raise UserError(f"{env_name} has no setting {name!r}; its settings are {', '.join(fields)}")
        wanted = type(fields[name].default)
        is_right = type(value) is wanted or (wanted is float and type(value) is int)
        if not is_right:
            raise UserError(
                f"{env_name} setting {name} is {value!r}; "
                f"it must be a {wanted.__name__}, such as {fields[name].default!r}"
            )
    return kind(**{name: type(fields[name].default)(value) for name, value in settings.items()})
