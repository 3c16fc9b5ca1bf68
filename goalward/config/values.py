"""Values from a file or a program, held against the types and ranges that settings are declared with."""

import dataclasses
import difflib
import functools
import reprlib
import types
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from goalward.errors import UserError
from goalward.limits import check_number, to_float

_hints = functools.cache(get_type_hints)  # a sweep reads thousands of configurations


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `over`, nested mappings merged likewise."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = merge(old, value)
        else:
            merged[name] = value
    return merged


def check(config: Any, ranges: Mapping[str, tuple[float | int, float | int]]) -> None:
    """Raise `UserError` for a field of a wrong type, as a program may give it, or a number out of its range.

    `ranges` are by field, both ends included; a number may be None where its default is.
    """
    for name, kind in _hints(type(config)).items():
        value = getattr(config, name)
        if not dataclasses.is_dataclass(kind):
            _parse_value(kind, value, type(config).__name__, name)
        elif not isinstance(value, cast(type, kind)):
            raise UserError(f"{name} is {_short(value)}; it must be a {cast(type, kind).__name__}")
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None:
            check_number(name, value, low, high)


def parse(kind: Any, values: Mapping[str, Any], source: str) -> Any:
    """Build the dataclass `kind`, and those that are its parts, from nested names and values.

    Raises `UserError`, naming `source`, for a name that is unknown or missing and a value of a wrong type.
    """
    return _parse_fields(kind, values, source, "", kind)


def _parse_fields(kind: Any, value: Any, source: str, path: str, whole: Any) -> Any:
    """The part `kind`, found under `path`, of the dataclass `whole`."""
    if not isinstance(value, Mapping):
        raise UserError(f"{source}: {path or 'the file'} must hold names and values, not {value!r}")
    hints, prefix = _hints(kind), f"{path}." if path else ""
    for name in value:
        if name not in hints:
            known = {leaf.rpartition(".")[2]: leaf for leaf in names(whole)}
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {known[near[0]]!r}? The" if near else "the"
            raise UserError(
                f"{source}: unknown setting {prefix + name!r}; {hint} settings here are {', '.join(hints)}"
            )
    required = [f.name for f in dataclasses.fields(kind) if _has_no_default(f) and f.name not in value]
    if required:
        raise UserError(f"{source}: {prefix}{required[0]} is missing")
    parsed = {}
    for name, item in value.items():
        is_part = dataclasses.is_dataclass(hints[name])
        rest = (hints[name], item, source, prefix + name)
        parsed[name] = _parse_fields(*rest, whole) if is_part else _parse_value(*rest)
    return kind(**parsed)


def _parse_value(kind: Any, value: Any, source: str, path: str) -> Any:
    """`value`, held against the annotation `kind`."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            known = ", ".join(map(repr, get_args(kind)))
            raise UserError(f"{source}: {path} is {_short(value)}; it must be one of {known}")
        return value
    allowed = get_args(kind) if get_origin(kind) is types.UnionType else (get_origin(kind) or kind,)
    if float in allowed and type(value) is int:
        return to_float(value)
    if type(value) not in allowed:
        names = " or ".join("null" if a is types.NoneType else a.__name__ for a in allowed)
        raise UserError(f"{source}: {path} is {_short(value)}; it must be of type {names}")
    return value


def names(kind: Any, prefix: str = "") -> list[str]:
    """All settings of a configuration, those of its parts with a dot."""
    found = []
    for name, hint in _hints(kind).items():
        found += names(hint, f"{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return found


def _has_no_default(entry: dataclasses.Field) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _short(value: Any) -> str:
    """A value as messages show it, however long or deep it is."""
    shown = reprlib.Repr()
    shown.maxlevel, shown.maxstring, shown.maxother = 2, 80, 80
    return shown.repr(value)
