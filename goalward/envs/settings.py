"""Settings of an environment: a frozen dataclass each, made from names and values that people give."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from goalward.errors import UserError
from goalward.limits import check_number, to_float

LONGEST = 100_000  # episode, in steps
LARGEST = 1e6  # length, in units of the world


def parse(defaults: Any, env_name: str, given: Mapping[str, Any]) -> Any:
    """Settings dataclass `defaults` with some fields changed.

    Raises `UserError` for a name that is unknown, a type that is wrong and, by the dataclass itself, a value
    out of range.
    """
    fields = [field.name for field in dataclasses.fields(defaults)]
    for name, value in given.items():
        if name not in fields:
            raise UserError(f"{env_name} has no setting {name!r}; its settings are {', '.join(fields)}")
        wanted = type(getattr(defaults, name))
        if not (type(value) is wanted or (wanted is float and type(value) is int)):
            raise UserError(
                f"{env_name} setting {name} is {value!r}; "
                f"it must be a {wanted.__name__}, such as {getattr(defaults, name)!r}"
            )
    typed = {name: to_float(v) if type(getattr(defaults, name)) is float else v for name, v in given.items()}
    return dataclasses.replace(defaults, **typed)


def check(owner: str, settings: Any, **limits: tuple[float | int, float | int]) -> None:
    """Raise `UserError` for a field outside of its limits, both included."""
    for name, (low, high) in limits.items():
        check_number(f"{owner} setting {name}", getattr(settings, name), low, high)
