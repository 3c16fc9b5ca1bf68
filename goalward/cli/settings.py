"""Where the settings of a run start: at a preset's for the environment, and a file's over them."""

from pathlib import Path
from typing import Any, Literal

from goalward import presets
from goalward.cli.process import start_jax
from goalward.config import TrainConfig, from_dict, merge
from goalward.errors import UserError

Preset = Literal["laptop", "paper"]


def from_preset_and_file(name: Preset, file: Path | None, env: str) -> TrainConfig:
    """The preset's settings for `env`, or else for the file's environment, and the file's over them."""
    from goalward import runs

    given = runs.current(runs.read_settings(file), file) if file else {}
    values = merge({"env": ""}, _preset(name, env or given.get("env")))
    return from_dict(merge(values, given), str(file or f"preset {name}"))


def _preset(name: Preset, env: Any) -> dict[str, Any]:
    """The settings of a preset. The laptop's is the environment's own; where none is named, it is empty."""
    if name != "laptop":
        return presets.load(name)
    if not env or not isinstance(env, str):  # what is no name is refused with the other settings
        return {}
    start_jax()  # environments are made with it
    from goalward import envs

    return presets.load(envs.preset(env))


def check_env(config: TrainConfig, command: str) -> None:
    """Raise `UserError` where no environment is named, neither by a word nor in a file."""
    if not config.env:
        raise UserError(
            f"no environment is named; use `goalward {command} ENV`, and `goalward envs` lists them"
        )
