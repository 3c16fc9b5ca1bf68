"""Settings by any of their names: `depth`, `network.depth`, or `depth` within `network`."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from goalward.config.train import TrainConfig
from goalward.config.values import merge, names


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by any of their names, as `from_dict` takes them; unknown names stay as they are."""
    found: dict[str, Any] = {}
    for path, value in leaves(values):
        full = full_name(".".join(path))
        for name in reversed(["agent", "name"] if full == "agent" else full.split(".")):
            value = {name: value}
        found = merge(found, value)
    return found


def full_name(name: str) -> str:
    """The dotted name of a setting, such as network.depth for depth; an unknown one as it is."""
    return name if name.startswith("env_settings.") else _full_names().get(name, name)


def leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Values and where they are, however deep."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


@cache
def _full_names() -> dict[str, str]:
    return {full.rpartition(".")[2]: full for full in names(TrainConfig)}
