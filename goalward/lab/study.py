"""A study: a question, the runs that answer it, what is measured of them, and what was expected before.

It is a TOML file (`studies/` holds those of the package), read at one of its scales.
"""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from goalward import envs, files
from goalward.config import merge
from goalward.errors import UserError
from goalward.files import HUGE
from goalward.lab import claims
from goalward.lab.axes import Axis, Trial, runs
from goalward.lab.source import Source, mapping, needed_text, only

SHIPPED = Path(__file__).parent / "studies"
PLAIN = "plain"  # the scale of a study that was given in words

# What an evaluation measures, by its names in metrics.jsonl.
METRICS = ("success_rate", "final_success", "time_at_goal", "time_at_goal_fraction", "final_distance")
CLOCKS = ("updates", "env_steps")
NETWORKS = ("actor", "phi", "psi", "q")
# Kinds of measures and of figures, with their options and what these are by default; `...` has to be given.
MEASURES: dict[str, dict[str, Any]] = {
    "final": {"metric": ..., "last": 5},
    "reached": {"metric": ..., "at_least": ..., "clock": "updates"},
    "area": {"metric": ..., "clock": "updates"},
    "distance_rank": {"against": "walking"},
    "action_rank": {},
    "right_way": {},
    "greedy_score": {},
    "effective_rank": {},
    "steps_rank": {},
}
FIGURES: dict[str, dict[str, Any]] = {
    "curves": {"metric": ..., "by": ..., "clock": "updates"},
    "line": {"measure": ..., "x": ..., "by": None, "log": False},
    "bars": {"measure": ..., "x": ..., "by": None},
    "heat_map": {"measure": ..., "x": ..., "y": ..., "beside": None},
    "distance_maps": {"by": ...},
    "embedding": {"by": ...},
    "block_norms": {"by": ..., "network": "phi"},
}
PUBLISHED: dict[str, Any] = {"what": ..., "axis": ..., "values": {}, "curves": None}
_TOP = ("question", "source", "of", "base", "axes", "measures", "prediction", "figures", "published", "scales")
_PREDICTION = ("text", "success", "partly")


class Part(NamedTuple):
    """A measure, a figure or published numbers: its kind, and its options by name."""

    kind: str
    options: dict[str, Any]

    @property
    def is_time(self) -> bool:
        """Whether it measures a time until a threshold, which may never come."""
        return self.kind == "reached"

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""
        return not self.is_time and self.options.get("metric") != "final_distance"


class Prediction(NamedTuple):
    """What was expected before the runs, and the claims by which it is judged."""

    text: str
    success: str
    partly: str | None


class Study(NamedTuple):
    """A study at one scale."""

    name: str
    scale: str
    question: str
    source: str
    of: str  # the study whose runs it looks at: itself, or another that trained them
    axes: tuple[Axis, ...]  # seed is the last
    measures: dict[str, Part]
    figures: tuple[Part, ...]
    prediction: Prediction | None
    published: tuple[Part, ...]
    trials: tuple[Trial, ...]  # one seed of all comes first
    document: dict[str, Any]  # what the file says, of the study whose runs it looks at

    def axis(self, name: str) -> Axis:
        """The axis of this name."""
        return next(axis for axis in self.axes if axis.name == name)

    def having(self, labels: Mapping[str, str]) -> list[Trial]:
        """The trials that have these labels, by axis."""
        return [trial for trial in self.trials if labels.items() <= trial.labels.items()]


def shipped() -> list[str]:
    """Names of the studies of the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(name: str, scale: str) -> Study:
    """Read a study of the package by its name, or any by the path of its file.

    Raises `UserError`, by file and line, for what it cannot be.
    """
    document, stem, source = _read(name, scale)
    found = build(document, stem, source)
    _check_clocks(found, source)
    if name not in shipped():  # whoever tries a small scale first wants to hear of mistakes in the large one
        for other in document["scales"]:
            build(document, stem, source._replace(scale=other))
    return found


def _read(name: str, scale: str) -> tuple[dict[str, Any], str, Source]:
    """What the file of a study says, the study's name, and where that is from."""
    path = SHIPPED / f"{name}.toml" if name in shipped() else Path(name)
    if path.suffix != ".toml":
        near = get_close_matches(name, shipped(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"unknown study {name!r}; {hint}there are {', '.join(shipped())}, or name a file that ends in .toml"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    document = _asked(document)
    return document, path.stem, Source(path.name if name in shipped() else str(path), text, scale)


def _asked(value: Any) -> Any:
    """What a person's file or words say, environments from files named so that they are found from anywhere.

    Whoever names a study asks for the code it names.
    """
    if isinstance(value, dict):
        return {name: _asked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_asked(item) for item in value]
    return envs.asked(value) if isinstance(value, str) and ".py" in value else value


def from_document(document: Mapping[str, Any], name: str, scale: str, folder: str = "") -> Study:
    """A study again, from what its file said, seen from a folder. Raises `UserError` for what it cannot be."""
    return build(dict(document), name, Source(f"study {name}", "", scale, folder))


def plain(env: str, axes: Sequence[str], settings: Mapping[str, Any] | None = None) -> Study:
    """The study of some axes, such as "depth=4,8" and "seed=0..4", on an environment; no file is needed."""
    if env in shipped():
        raise UserError(
            f"{env} is a study, whose axes are its own; restrict them by --only, or name an environment"
        )
    given: dict[str, Any] = {}
    for word in axes:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise UserError(f"axis is {word!r}; write a setting and its values, such as depth=4,8 or seed=0..4")
        if name in given:
            raise UserError(f"axis {name} is given twice; write all of its values at once, as {name}=4,8")
        given[name] = values if ".." in values else [_value(text) for text in values.split(",")]
    compared = [name for name in given if name != "seed"]
    figures: list[dict[str, Any]] = []
    for name in compared[:1]:
        by = name.rpartition(".")[2]
        figures = [
            {"kind": "curves", "metric": "time_at_goal_fraction", "by": by},
            {"kind": "bars", "measure": "score", "x": by},
        ]
    document = {
        "question": f"What do {' and '.join(compared) or 'seeds'} make of {env}?",
        "base": {"env": env, **(settings or {})},
        "axes": given,
        "figures": figures,
        "scales": {PLAIN: {}},
    }
    return build(_asked(document), files.short(env), Source("axis", "", PLAIN))


def _value(text: str) -> Any:
    """A word of a command as JSON reads it, else as it is."""
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def build(document: dict[str, Any], name: str, source: Source) -> Study:
    """A study, from what its file says, at the scale of `source`. Raises `UserError` for what it cannot be."""
    only(document, _TOP, source, ())
    scales, scale = mapping(document, "scales", source), source.scale
    if scale not in scales:
        raise source.error(
            ["scales"], f"there is no scale {scale!r}; its scales are {', '.join(scales) or 'none'}"
        )
    over = mapping(scales, scale, source, ("scales",))
    only(over, _TOP[:-1], source, ("scales", scale))
    at_scale = merge({key: value for key, value in document.items() if key != "scales"}, over)
    of = name
    if "of" in at_scale:
        looked_at = _looked_at(at_scale, source)
        of, axes, trials, document = looked_at.of, looked_at.axes, looked_at.trials, looked_at.document
    else:
        axes, trials = runs(document, over, source)
    measures = _measures(at_scale, source)
    return Study(
        name=name,
        scale=scale,
        question=needed_text(at_scale, "question", source),
        source=needed_text(at_scale, "source", source) if "source" in at_scale else "",
        of=of,
        axes=axes,
        measures=measures,
        figures=_parts(at_scale, "figures", FIGURES, source, measures, axes),
        prediction=_prediction(at_scale, source, measures, axes),
        published=_parts(at_scale, "published", {"": PUBLISHED}, source, measures, axes),
        trials=trials,
        document=document,
    )


def _check_clocks(study: Study, source: Source) -> None:
    """Refuse to tell the time of runs that learn from a dataset by steps, which they do not take."""
    if not any(trial.config.is_offline for trial in study.trials):
        return
    measures = [(("measures", name), part) for name, part in study.measures.items()]
    figures = [(("figures", str(number)), part) for number, part in enumerate(study.figures)]
    for where, part in [*measures, *figures]:
        if part.options.get("clock") == "env_steps":
            raise source.error(
                (*where, "clock"), "clock is 'env_steps', and runs of a dataset take none; choose updates"
            )


def _looked_at(at_scale: Mapping[str, Any], source: Source) -> Study:
    """The study whose runs are looked at; a file of one is named as seen from this file."""
    of = needed_text(at_scale, "of", source)
    for key in ("base", "axes"):
        if key in at_scale:
            raise source.error([key], f"{key} is that of the study {of!r}, whose runs are looked at; remove it")
    document, name, their_source = _read(
        str(Path(source.name).parent / of) if of.endswith(".toml") else of, source.scale
    )
    if "of" in document:
        raise source.error(["of"], f"of is {of!r}, which has no runs of its own; name the study that has them")
    return build(document, name, their_source)


def _measures(at_scale: Mapping[str, Any], source: Source) -> dict[str, Part]:
    given = mapping(at_scale, "measures", source)
    found = {}
    for name, options in (given or {"score": {"kind": "final", "metric": "time_at_goal_fraction"}}).items():
        where = ("measures", name)
        if not name.isidentifier() or name in claims.FUNCTIONS:
            raise source.error(
                where, f"a measure cannot be named {name!r}; use a word that is no function of claims"
            )
        found[name] = _part(options, MEASURES, source, where)
    return found


def _parts(
    at_scale: Mapping[str, Any], key: str, kinds: Mapping[str, dict[str, Any]], source: Source,
    measures: Mapping[str, Part], axes: Sequence[Axis],
) -> tuple[Part, ...]:  # fmt: skip
    """A list of figures or of published numbers."""
    given = at_scale.get(key, [])
    if not isinstance(given, list):
        raise source.error([key], f"{key} must be a list: write [[{key}]]")
    parts = []
    for number, options in enumerate(given):
        where = (key, str(number))
        part = _part(options, kinds, source, where)
        names = [axis.name for axis in axes]
        for option in ("by", "x", "y", "axis"):
            chosen = part.options.get(option)
            if chosen is not None and chosen not in names:
                raise source.error((*where, option), f"{option} is {chosen!r}; the axes are {', '.join(names)}")
        _check_names(part, source, where)
        measure = part.options.get("measure")
        if measure is not None and measure not in list(measures):
            raise source.error((*where, "measure"), f"measure is {measure!r}; there are {', '.join(measures)}")
        parts.append(part)
    return tuple(parts)


def _check_names(part: Part, source: Source, where: tuple[str, ...]) -> None:
    """Refuse names of published curves and tables that there are not."""
    from goalward.pictures import published  # and with it Matplotlib, which few commands need

    for option in ("curves", "beside"):
        name = part.options.get(option)
        if name is not None and name not in published.names():
            raise source.error(
                (*where, option), f"{option} is {name!r}; there are {', '.join(published.names())}"
            )


_CHOICES = {
    "metric": METRICS, "clock": CLOCKS, "network": NETWORKS, "against": ("walking", "straight"),
}  # fmt: skip
# Of options that are no choice: what holds of a value, and how that is said.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "last": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "at_least": (lambda value: type(value) in (int, float) and 0 < value < HUGE, "a number above 0"),
    "log": (lambda value: type(value) is bool, "true or false"),
    "what": (lambda value: isinstance(value, str), "a text"),
    "values": (
        lambda value: (
            isinstance(value, Mapping) and all(type(one) in (str, int, float) for one in value.values())
        ),
        'numbers or texts by labels of its axis, such as { 4 = "107 ± 24" }',
    ),
}


def _part(options: Any, kinds: Mapping[str, dict[str, Any]], source: Source, where: tuple[str, ...]) -> Part:
    """A measure or a figure, with its options checked and filled up."""
    if not isinstance(options, Mapping):
        raise source.error(where, f"{where[-1]} must hold names and values, not {options!r:.60}")
    kind = options.get("kind", "")
    if kind not in list(kinds):  # it may be anything, such as a list
        raise source.error((*where, "kind"), f"kind is {kind!r}; it must be one of {', '.join(kinds)}")
    known = kinds[kind]
    given = {name: value for name, value in options.items() if name != "kind"}
    only(given, tuple(known), source, where)
    for name, default in known.items():
        if default is ... and given.get(name) is None:
            raise source.error(where, f"{name} is missing")
    filled = {name: given.get(name, default) for name, default in known.items()}
    for name, value in filled.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            raise source.error(
                (*where, name), f"{name} is {value!r}; it must be one of {', '.join(_CHOICES[name])}"
            )
        if name in _RULES and not _RULES[name][0](value):
            raise source.error((*where, name), f"{name} is {value!r}; it must be {_RULES[name][1]}")
    return Part(kind, filled)


def _prediction(
    at_scale: Mapping[str, Any], source: Source, measures: Mapping[str, Part], axes: Sequence[Axis]
) -> Prediction | None:
    given = mapping(at_scale, "prediction", source)
    if not given:
        return None
    only(given, _PREDICTION, source, ("prediction",))
    times = {name: measure.is_time for name, measure in measures.items()}
    labels = {axis.name: axis.labels for axis in axes}
    for name in ("success", "partly"):
        if name not in given and name == "partly":
            continue
        try:
            claims.check(needed_text(given, name, source, ("prediction",)), times, labels)
        except ValueError as error:
            raise source.error(("prediction", name), f"{name}: {error}") from error
    return Prediction(
        needed_text(given, "text", source, ("prediction",)).strip(), given["success"], given.get("partly")
    )
