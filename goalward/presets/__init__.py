"""Presets: settings to start from, a TOML file each. Imports no JAX, so that `--help` is quick."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from goalward.errors import UserError


def names() -> list[str]:
    """All presets, one for each file."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def load(name: str, agent: str | None = None) -> dict[str, Any]:
    """What a preset sets, nested as in a file of settings.

    With an `agent` it is that agent's own preset, NAME_AGENT, where there is one; else this one for that agent,
    as `for_agent` has it. Raises `UserError` for an unknown name.
    """
    if name not in names():
        raise UserError(f"unknown preset {name!r}; the presets are {', '.join(names())}")
    if agent is None:
        return _read(name)
    own = f"{name}_{agent}"
    return for_agent(_read(own if own in names() else name), agent)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


def for_agent(values: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """A file's settings for an agent: those of another one, if that is what it has, are left out."""
    given = values.get("agent", {})
    if isinstance(given, str) or (isinstance(given, Mapping) and given.get("name", agent) != agent):
        given = {}
    return {**values, "agent": {**given, "name": agent} if isinstance(given, Mapping) else given}
