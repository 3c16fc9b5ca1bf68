"""The runs of a study: its axes, and a trial for each combination of their points."""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from goalward import envs, presets
from goalward.config import (
    TrainConfig,
    check_together,
    from_dict,
    full_name,
    leaves,
    merge,
    named_agent,
    nested,
    owners,
    placed,
    preset_for,
)
from goalward.errors import UserError
from goalward.lab import claims
from goalward.lab.source import Source, mapping

LONGEST_NAME = 120  # characters in the name of a run directory
LONGEST_LABEL = 40  # of a seed, in such a name where it is cut
MOST_POINTS = 10_000  # of a range


class Point(NamedTuple):
    """A value of an axis: its label, and the settings that it stands for, nested."""

    label: str
    settings: dict[str, Any]


class Axis(NamedTuple):
    """What is varied."""

    name: str
    points: tuple[Point, ...]

    @property
    def labels(self) -> list[str]:
        """Labels of all points."""
        return [point.label for point in self.points]


def conditions(axes: Iterable[Axis]) -> list[dict[str, str]]:
    """All combinations of labels, by axis."""
    axes = list(axes)
    combinations = itertools.product(*(axis.labels for axis in axes))
    return [dict(zip((axis.name for axis in axes), labels, strict=True)) for labels in combinations]


class Trial(NamedTuple):
    """One run of a study."""

    name: str  # of its run directory, such as depth=4,seed=0
    labels: dict[str, str]  # by axis
    config: TrainConfig
    words: tuple[str, ...]  # of the command that starts it, without --out


def runs(
    document: Mapping[str, Any], over: Mapping[str, Any], source: Source
) -> tuple[tuple[Axis, ...], tuple[Trial, ...]]:
    """Axes of a study at a scale, and a trial for each combination of points; one seed of all comes first.

    `over` is what the scale says in place of the document. Raises `UserError` for what a run cannot be.
    """
    base: dict[str, Any] = {}
    axes: dict[str, Axis] = {}
    for values, where in ((document, ()), (over, ("scales", source.scale))):
        settings = mapping(values, "base", source, where)
        _check_settings(settings, source, (*where, "base"))
        base = merge(base, nested(settings))
        for name, points in mapping(values, "axes", source, where).items():
            axis = _axis(name, points, source, (*where, "axes", name))
            axes[axis.name] = axis
    seed = axes.pop("seed", Axis("seed", (Point("0", {"seed": 0}),)))
    axes["seed"] = seed
    trials = []
    for point, *points in itertools.product(
        seed.points, *(axis.points for axis in axes.values() if axis != seed)
    ):
        chosen = [*points, point]
        labels = {name: point.label for name, point in zip(axes, chosen, strict=True)}
        settings = base
        for point in chosen:
            settings = merge(settings, point.settings)
        trials.append(_trial(labels, settings, source))
    _check_names([trial.name for trial in trials], source)
    return tuple(axes.values()), tuple(trials)


def _check_names(names: Sequence[str], source: Source) -> None:
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise source.error(["axes"], f"two runs would be named {twice[0]!r}; give their points other labels")


def _trial(labels: Mapping[str, str], settings: Mapping[str, Any], source: Source) -> Trial:
    name = ",".join(f"{axis}={label}" for axis, label in labels.items())
    settings = dict(settings)
    start, env = settings.pop("preset", "laptop"), settings.get("env")
    if not isinstance(env, str):
        raise source.error(["base"], "env is missing; name the environment of the runs, here or as an axis")
    try:
        known = presets.load(envs.preset(env) if start == "laptop" else start, named_agent(settings))
        config = from_dict(merge(preset_for(known, settings.get("dataset")), settings), name)
        config = placed(config, source.folder)
        check_together(config)
    except UserError as error:
        raise source.error(
            ["axes"], f"the run {name} cannot be: {str(error).removeprefix(f'{name}: ')}"
        ) from error
    if config.is_offline:
        settings["dataset"] = config.dataset  # its whole path
    return Trial(_file_name(name), dict(labels), config, _words(start, settings, config))


def _file_name(name: str) -> str:
    """A name for a folder. Before its seed, in place of what is too much, digits tell it apart."""
    short = re.sub(r"[^\w=,.+-]", "_", name, flags=re.ASCII)
    if len(short) <= LONGEST_NAME:
        return short
    digits = hashlib.sha256(name.rpartition(",seed=")[0].encode()).hexdigest()[:8]
    head, seed, label = short.rpartition(",seed=")
    end = f"-{digits}{seed}{label[:LONGEST_LABEL]}"
    return head[: LONGEST_NAME - len(end)] + end


def _words(start: str, settings: Mapping[str, Any], config: TrainConfig) -> tuple[str, ...]:
    """The command that trains with some settings over a preset."""
    words = ["train", config.env]
    if start != "laptop":
        words += ["--preset", start]
    for path, value in leaves(settings):
        flag = "agent" if path == ("agent", "name") else path[-1].replace("_", "-")
        if path[0] == "env_settings":
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif path != ("env",):
            words += [f"--{flag}", str(value)]
    if "env_settings" in settings:
        words += [
            "--env-settings",
            *(f"{name}={json.dumps(value)}" for name, value in config.env_settings.items()),
        ]
    return tuple(words)


def _check_settings(values: Mapping[str, Any], source: Source, where: tuple[str, ...]) -> None:
    """Raise `UserError`, by line, for a setting that is unknown or has a value that it cannot have."""
    for path, value in leaves(values):
        if path != ("preset",):
            _check_setting(path, value, source, (*where, *path))
        elif value not in ("laptop", "paper"):
            raise source.error((*where, *path), f"preset is {value!r}; it must be laptop or paper")


def _check_setting(path: Sequence[str], value: Any, source: Source, where: Sequence[str]) -> None:
    """As `_check_settings`, of one setting by its dotted name or its own; an agent's may be of any agent."""
    name = ".".join(path)
    settings = merge({"env": ""}, nested({name: value}))
    part, _, leaf = full_name(name).rpartition(".")
    agents = [{"agent": {"name": agent}} for agent in owners(leaf)] if part == "agent" else []
    errors = []
    for agent in agents or [{}]:
        try:
            from_dict(merge(settings, agent), "")
            return
        except UserError as error:
            errors.append(error)
    raise source.error(where, str(errors[0]).removeprefix(": ")) from errors[0]


def _axis(name: str, values: Any, source: Source, where: tuple[str, ...]) -> Axis:
    short = name.rpartition(".")[2]  # what claims, files of pictures and run directories call it
    if not short.isidentifier():
        raise source.error(where, f"an axis cannot be named {short!r}; use a word without spaces and signs")
    if isinstance(values, str):
        values = _range(values, source, where)
    if not isinstance(values, list) or not values:
        raise source.error(where, f"axis {name} is {values!r}; it must be a list of values, or a range as 0..4")
    points = tuple(_point(name, value, source, where) for value in values)
    labels = [point.label for point in points]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise source.error(
            where, f"axis {name} has {twice[0]} twice; each of its points needs a label of its own"
        )
    return Axis(short, points)


def _range(text: str, source: Source, where: tuple[str, ...]) -> list[int]:
    found = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text)
    if not found or int(found[1]) > int(found[2]):
        raise source.error(
            where, f"axis {where[-1]} is {text!r}; a range is written as 0..4, both ends included"
        )
    whole = range(int(found[1]), int(found[2]) + 1)
    if len(whole) > MOST_POINTS:
        told = f"axis {where[-1]} is {text!r}, {len(whole):,} points; an axis has {MOST_POINTS:,} at most"
        raise source.error(where, told)
    return list(whole)


def _point(name: str, value: Any, source: Source, where: tuple[str, ...]) -> Point:
    if not isinstance(value, Mapping):
        _check_setting([name], value, source, where)
        return Point(claims.label(value), nested({name: value}))
    settings = {key: item for key, item in value.items() if key != "label"}
    if not isinstance(value.get("label"), str):
        raise source.error(where, f'a point of axis {name} has no label; add label = "…", beside its settings')
    _check_settings(settings, source, where)
    return Point(value["label"], nested(settings))
