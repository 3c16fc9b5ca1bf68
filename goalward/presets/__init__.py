"""Presets: settings to start from, a TOML file each. Imports no JAX, so that `--help` is quick."""

import tomllib
from importlib import resources
from typing import Any

from goalward.errors import UserError


def names() -> list[str]:
    """All presets, one for each file."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def load(name: str) -> dict[str, Any]:
    """What a preset sets, nested as in a file of settings. Raises `UserError` for an unknown name."""
    if name not in names():
        raise UserError(f"unknown preset {name!r}; the presets are {', '.join(names())}")
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
