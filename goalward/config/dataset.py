"""Settings of runs that learn from a dataset: which of the others mean nothing there."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from goalward.config.train import TrainConfig
from goalward.errors import UserError
from goalward.limits import INT32

MINARI = "minari:"  # before the name of a dataset of Minari
# What says how experience is collected and kept: nothing, where nothing is.
COLLECTION = (
    "resample_goals", "steps_per_goal", "practised_goals", "collector_depth", "total_env_steps", "num_envs",
    "steps_per_iteration", "buffer_rows", "buffer_gb", "prefill_rows",
)  # fmt: skip
# What says something of datasets alone.
_OF_DATASETS = ("dataset_rows", "total_updates")


def preset_for(values: Mapping[str, Any], dataset: Any) -> dict[str, Any]:
    """A preset's settings without those of collection, where there is a dataset to learn from."""
    return {name: value for name, value in values.items() if dataset is None or name not in COLLECTION}


def placed(config: TrainConfig, folder: str = "") -> TrainConfig:
    """The same with the whole path of a dataset, as seen from a folder: a run may be resumed from any."""
    if config.dataset is None or config.dataset.startswith(MINARI):
        return config
    return replace(config, dataset=str(Path(folder, config.dataset).absolute()))


def check_dataset(config: TrainConfig) -> None:
    """Raise `UserError` for a setting that means nothing with, or without, a dataset."""
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    for name in COLLECTION if config.is_offline else _OF_DATASETS:
        value = getattr(config, name)
        if value != defaults[name]:
            why = (
                "a run that learns from a dataset collects nothing"
                if config.is_offline
                else "there is no dataset"
            )
            raise UserError(f"{name} is {value}, but {why}; leave it out")


def check_updates(config: TrainConfig) -> None:
    """Raise `UserError` for a length, in updates, that does not go with the number of epochs."""
    each, found = config.updates_per_iteration, config.iterations
    if found < config.epochs:
        remedies = [f"--epochs {found}"] if found else []
        least = config.epochs * each
        remedies.append(f"--total-updates {least}" if least <= INT32 else "smaller updates_per_iteration")
        raise UserError(
            f"epochs is {config.epochs}, but total_updates {config.total} are {found} iterations of "
            f"{each} (updates_per_iteration); use {' or '.join(remedies)}"
        )
