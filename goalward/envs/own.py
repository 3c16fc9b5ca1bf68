"""Environments from a person's own code: a function that returns a `Task`, an `Env` or a `gymnasium.Env`.

`my_task.py:make` names the file and the function; a package names its functions by entry points of the group
`goalward.envs`. The function's arguments, which all have defaults, are the environment's settings.
"""

import dataclasses
import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium

from goalward.envs import gym, trust
from goalward.envs.core import Entry
from goalward.errors import UserError
from goalward.foreign import making
from goalward.foreign.making import Recipe

FUNCTION = "make"  # where a name tells none
GROUP = "goalward.envs"  # of entry points
PRESET = "own"
KINDS = (bool, int, float, str, list)  # of arguments that are settings


class Place(NamedTuple):
    """Where an environment is built: a function in a file."""

    path: Path
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.function}"


def place(name: str) -> Place | None:
    """The file and the function of a name such as `my_task.py:make`; None for a name of another kind."""
    if name.endswith(".py"):
        return Place(Path(name), FUNCTION)
    path, colon, function = name.rpartition(":")
    return Place(Path(path), function) if colon and path.endswith(".py") else None


def asked(name: str) -> str:
    """The name by which an environment that a person typed is found from anywhere; its file may be loaded.

    Names of other kinds are as they were. Raises `UserError` where there is no such file.
    """
    named = place(name)
    if named is None:
        return name
    if not named.path.is_file():
        raise UserError(f"there is no file {named.path}; name one, and a function in it, as in my_task.py:make")
    path = named.path.resolve()
    trust.trust(path)
    return str(Place(path, named.function))


def absolute(name: str) -> str:
    """The name by which an environment of a file is found from anywhere; others as they are."""
    named = place(name)
    return name if named is None else str(named._replace(path=named.path.resolve()))


def moved(name: str, file: str | Path) -> str:
    """The name of an environment whose file a person says is elsewhere; it may be loaded from now on."""
    named = place(name)
    if named is None:
        raise UserError(f"--env-file is {file}, but {name} comes from no file; leave it out")
    path = str(file).removesuffix(f":{named.function}")
    return asked(f"{path}:{named.function}")


def source(named: Place, model: bytes) -> str:
    """SHA-256 of what an environment is made of: its file, and its MuJoCo model if it has one."""
    return trust.fingerprint(trust.read(named.path) + model)


def points() -> dict[str, EntryPoint]:
    """Entry points of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def of_package(point: EntryPoint) -> Entry:
    """What is known of an environment of a package before it is built. Raises `UserError` for what is wrong."""
    label = f"{point.name} ({point.value})"
    with told(label, "its package"):
        function = point.load()
    return function if isinstance(function, Entry) else _entry(label, function)


def of_file(named: Place) -> Entry:
    """What is known of an environment of a file. Loads it, so that its code runs.

    Raises `UserError` for a file that no person has named, and for what is wrong with it.
    """
    code = trust.read(named.path)
    if not trust.is_trusted(trust.fingerprint(code)):
        raise UserError(
            f"{named.path} is a file of code that was not named here before, or not as it is now; look at it, "
            f"and name it: --env-file {named.path}"
        )
    return _of_code(named, code)


@lru_cache
def _of_code(named: Place, code: bytes) -> Entry:
    """Kept, as its function is called to see what it gives."""
    with told(str(named.path), "it", named.path):
        module = making.load(named.path, code)
    function = getattr(module, named.function, None)
    if not callable(function):
        own = [name for name, value in vars(module).items() if _is_own_function(module, name, value)]
        raise UserError(
            f"{named.path} has no function {named.function!r}; its functions are {', '.join(own) or 'none'}: "
            f"name one, as in {named.path.name}:{FUNCTION}"
        )
    return _entry(str(named), function, named)


def _is_own_function(module: ModuleType, name: str, value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")


def _entry(label: str, function: Callable[..., Any], named: Place | None = None) -> Entry:
    """The entry of a function; what kind of environment it gives is seen by calling it."""
    arguments = _arguments(label, function)
    path = named.path if named else None
    with told(label, function.__name__, path):
        first = function()
    is_gym = isinstance(first, gymnasium.Env)
    if is_gym:
        first.close()
    ours = [(one.name, one.type, one) for one in gym.OF_FILES]
    fields = [*arguments, *(ours if is_gym else [])]
    names = [name for name, _, _ in fields]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"{label}: {', '.join(sorted(twice))} is a setting of all such environments; rename it")

    def build(name: str, given: Any) -> Any:
        values = {name: getattr(given, name) for name, _, _ in arguments}
        if is_gym:
            if named is None:
                raise UserError(f"{label} is of Gymnasium; register it there, and name it gym:MODULE:{name}")
            recipe = Recipe(name, values, path=str(named.path), function=named.function)
            return gym.of_file(recipe, given)
        with told(label, function.__name__, path):
            return function(**values)

    build.__doc__ = inspect.getdoc(function) or f"{function.__name__} of {label}."
    settings = dataclasses.make_dataclass("OwnSettings", fields, frozen=True)
    return Entry(build, settings(), gym.PRESET if is_gym else PRESET, is_own=True)


def _arguments(label: str, function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Fields of a function's arguments, with their defaults. Raises `UserError` for one that has none."""
    fields = []
    for argument in inspect.signature(function).parameters.values():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if argument.default is argument.empty:
            raise UserError(
                f"{label} needs a value for {argument.name!r}: give it a default, which makes it a setting"
            )
        if type(argument.default) in KINDS:
            value = dataclasses.field(default_factory=lambda value=argument.default: value)
            fields.append((argument.name, type(argument.default), value))
    return fields


@contextmanager
def told(label: str, what: str, path: Path | None = None) -> Iterator[None]:
    """Turn what a person's code raises into one message that names the file, the line and the function."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if path and Path(frame.filename) == path]
        if isinstance(error, SyntaxError) and path and error.filename == str(path):
            lines.append(error.lineno)
        where = f"{path}, line {lines[-1]}" if lines else label
        message = " ".join(str(error).split())
        raise UserError(f"{where}: {what} raised {type(error).__name__}: {message}") from error
