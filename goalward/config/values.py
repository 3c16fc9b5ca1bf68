"""Values from a file or a program, held against the types and ranges that settings are declared with."""

import dataclasses
import difflib
import functools
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from goalward.errors import UserError
from goalward.limits import check_number, to_float

_hints = functools.cache(get_type_hints)  # a sweep reads thousands of configurations


@dataclass(frozen=True, eq=False)
class OneOf:
    """Annotates a part that is one of several dataclasses; in files its entry `name` tells which."""

    kinds: Mapping[str, type]
    default: str
    """Its name where a file tells none."""


@functools.cache
def _choices(kind: Any) -> dict[str, OneOf]:
    """The parts of a dataclass that are one of several."""
    hints = get_type_hints(kind, include_extras=True)
    found = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: note for name, notes in found.items() for note in notes if isinstance(note, OneOf)}


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
            choice = _choices(type(config)).get(name)
            known = [one.__name__ for one in (choice.kinds.values() if choice else [cast(type, kind)])]
            raise UserError(f"{name} is {_short(value)}; it must be a {' or '.join(known)}")
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
    hints, choices, prefix = _hints(kind), _choices(kind), f"{path}." if path else ""
    for name in value:
        if name not in hints:
            raise UserError(f"{source}: unknown setting {prefix + name!r}; {_known(name, hints, whole)}")
    required = [f.name for f in dataclasses.fields(kind) if _has_no_default(f) and f.name not in value]
    if required:
        raise UserError(f"{source}: {prefix}{required[0]} is missing")
    parsed = {}
    for name, item in value.items():
        rest = (item, source, prefix + name)
        if name in choices:
            parsed[name] = _parse_choice(choices[name], *rest, whole)
        elif dataclasses.is_dataclass(hints[name]):
            parsed[name] = _parse_fields(hints[name], *rest, whole)
        else:
            parsed[name] = _parse_value(hints[name], *rest)
    return kind(**parsed)


def _known(name: str, hints: Mapping[str, Any], whole: Any) -> str:
    """What is told of an unknown name: the one that is near, and those there are."""
    known = {leaf.rpartition(".")[2]: leaf for leaf in names(whole)}
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {known[near[0]]!r}? The" if near else "the"
    return f"{hint} settings here are {', '.join(hints)}"


def _parse_choice(choice: OneOf, value: Any, source: str, path: str, whole: Any) -> Any:
    """The part that the entry `name` of a table chooses, or a text alone, which stands for such a table."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        known = ", ".join(choice.kinds)
        raise UserError(
            f"{source}: {path} must hold names and values, or be one of {known}, not {_short(value)}"
        )
    chosen = value.get("name", choice.default)
    if not isinstance(chosen, str) or chosen not in choice.kinds:
        known = ", ".join(map(repr, choice.kinds))
        raise UserError(f"{source}: {path} is {_short(chosen)}; it must be one of {known}")
    kind, settings = choice.kinds[chosen], {key: item for key, item in value.items() if key != "name"}
    for name in settings:
        others = [other for other, its in choice.kinds.items() if name in _hints(its)]
        if others and name not in _hints(kind):
            raise UserError(
                f"{source}: {path}.{name} is no setting of {chosen}; {_have(others)} it; "
                f"the settings of {chosen} are {', '.join(_hints(kind))}"
            )
    return _parse_fields(kind, settings, source, path, whole)


def _have(names: list[str]) -> str:
    return f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'}"


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
    """All settings of a configuration, those of its parts with a dot.

    Of a part that is one of several there is its own name, by which it is chosen, and all that any may have.
    """
    found = []
    for name, hint in _hints(kind).items():
        choice = _choices(kind).get(name)
        if choice is not None:
            leaves = [leaf for one in choice.kinds.values() for leaf in names(one, f"{name}.")]
            found += [name, *dict.fromkeys(leaves)]
        else:
            found += names(hint, f"{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return found


def _has_no_default(entry: dataclasses.Field) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _short(value: Any) -> str:
    """A value as messages show it, however long or deep it is."""
    shown = reprlib.Repr()
    shown.maxlevel, shown.maxstring, shown.maxother = 2, 80, 80
    return shown.repr(value)
