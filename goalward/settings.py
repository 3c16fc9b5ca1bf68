"""Where the settings of a run start: at a preset's, and what is given over them; what a resume may change."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from goalward import presets
from goalward.config import (
    TrainConfig,
    check_agent,
    check_together,
    from_dict,
    merge,
    named_agent,
    preset_for,
)
from goalward.errors import UserError
from goalward.limits import INT32, check_number

Preset = Literal["laptop", "paper"]
LAPTOP = get_args(Preset)[0]


def combine(given: Mapping[str, Any], source: str, *, preset: str = LAPTOP, agent: str = "") -> TrainConfig:
    """The settings that are given, nested, over those of a preset, for an agent if one is named.

    Raises `UserError`, naming `source`, for what they cannot be.
    """
    if preset not in get_args(Preset):
        raise UserError(f"preset is {preset!r}; it must be {' or '.join(get_args(Preset))}")
    if agent:
        check_agent(agent)
    name = agent or named_agent(given)
    if name:
        given = presets.for_agent(given, name)
    base = preset_for(_preset(preset, given.get("env"), name), given.get("dataset"))
    return from_dict(merge(merge({"env": ""}, base), given), source)


def _preset(name: str, env: Any, agent: str | None) -> dict[str, Any]:
    """The settings of a preset. The laptop's is the environment's own; where none is named, it is empty."""
    if name != LAPTOP:
        return presets.load(name, agent)
    if not env or not isinstance(env, str):  # what is no name is refused with the other settings
        return {}
    from goalward import envs  # made with JAX

    return presets.load(envs.preset(env), agent)


def absolute(config: TrainConfig) -> TrainConfig:
    """The settings, with environments from files named so that they are found from anywhere."""
    names = {name: name for name in (config.env, config.eval_env) if name and ".py" in name}
    if not names:
        return config  # no other name is a file's
    from goalward import envs

    known = {name: envs.absolute(name) for name in names}
    eval_env = config.eval_env and known.get(config.eval_env, config.eval_env)
    return replace(config, env=known.get(config.env, config.env), eval_env=eval_env)


def extended(old: TrainConfig, new: TrainConfig, directory: Path) -> TrainConfig:
    """The settings of a resumed run: its own, but for the end that `new` tells. The length of an epoch stays.

    Raises `UserError` for anything else that is new, and for an end that cannot be.
    """
    end = {"total_updates": old.total_updates} if old.is_offline else {"total_env_steps": old.total_env_steps}
    [name] = end
    flag = f"--{name.replace('_', '-')}"
    if replace(new, epochs=old.epochs, **end) != old:
        raise other_settings(old, directory)
    check_together(old)
    epochs, total = new.epochs, new.total
    if epochs == old.epochs and total != old.total:
        epochs = old.epoch_at(max(0, total // old.round_size - old.prefill_rounds))
        if epochs < 1:
            raise UserError(f"{name} is {total}; one epoch of this run ends at {old.total_at(1)}")
    check_number("epochs", epochs, 1, old.epoch_at(INT32 // old.round_size - old.prefill_rounds))
    longer = replace(new, epochs=epochs, **{name: old.total_at(epochs)})
    if new.epochs != old.epochs and total not in (old.total, longer.total):
        unit = name.removeprefix("total_").replace("_", " ")
        raise UserError(
            f"{epochs} epochs of this run end at {longer.total} {unit}, not {total}; "
            f"give one of --epochs and {flag}"
        )
    return longer


def other_settings(old: TrainConfig, directory: Path) -> UserError:
    """What is told of settings that a resume cannot have."""
    flag = "--total-updates" if old.is_offline else "--total-env-steps"
    return UserError(f"--resume goes on with the settings in {directory}; only --epochs and {flag} may change")
