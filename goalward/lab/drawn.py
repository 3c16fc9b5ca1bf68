"""The figures of a study: what is drawn of its runs, and the sentence below each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from goalward.lab import statistics
from goalward.lab.axes import Axis, Trial
from goalward.lab.blocks import Picture
from goalward.lab.evidence import Evidence
from goalward.lab.measured import CLOCKS, METRICS, conditions, described, varied
from goalward.lab.results import Results, arrivals
from goalward.lab.statistics import Interval
from goalward.lab.study import Part
from goalward.pictures import charts, grids, lines
from goalward.pictures.charts import Chart, Place, Series
from goalward.pictures.grids import Grid
from goalward.pictures.lines import Group, Panel

DRAWS = 1_000  # of the bootstrap of a band: it has an interval at each evaluation
NOTHING = Interval(float("nan"), float("nan"), float("nan"))

Drawn = tuple[str, str, Callable[[], Figure]]  # what it shows, the sentence below, and what draws it


def pictures(evidence: Evidence, results: Results) -> list[Picture]:
    """The figures of a study, in its order."""
    found = []
    for number, part in enumerate(results.study.figures, start=1):
        if part.kind not in _KINDS:
            continue
        alt, caption, draw = _KINDS[part.kind](evidence, results, part)
        what = part.options.get("measure") or part.options.get("metric") or part.options["by"]
        found.append(Picture(f"{number}-{part.kind}-{what}", alt, caption, draw))
    return found


def _others(results: Results, part: Part) -> list[dict[str, str]]:
    """Labels of the panels of a figure: all combinations of the axes that it does not name."""
    named = {part.options.get(option) for option in ("by", "x", "y")}
    return conditions([axis for axis in varied(results.study) if axis.name not in named])


def _title(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in labels.items())


def _axis(results: Results, name: str | None) -> Axis:
    """An axis by its name; one point without a label for none."""
    return results.study.axis(name) if name else Axis("", ())


def _points(axis: Axis) -> list[dict[str, str]]:
    return [{axis.name: label} for label in axis.labels] or [{}]


def _trials(evidence: Evidence, labels: Mapping[str, str]) -> list[Trial]:
    return [trial for trial in evidence.done if labels.items() <= trial.labels.items()]


def _chance(evidence: Evidence, labels: Mapping[str, str], metric: str | None) -> float | None:
    rows = [evidence.rows[trial.name][-1] for trial in _trials(evidence, labels)]
    found = [row[f"random_{metric}"] for row in rows if f"random_{metric}" in row]
    return float(np.mean(found)) if found else None


def _curves(evidence: Evidence, results: Results, part: Part) -> Drawn:
    metric, clock, by = (part.options[name] for name in ("metric", "clock", "by"))

    def draw() -> Figure:
        shown = []
        for other in _others(results, part):
            points = _points(_axis(results, by))
            groups = [_group(evidence, other | point, point[by], metric, clock) for point in points]
            groups = [group for group in groups if len(np.asarray(group.clock))]
            chance = _chance(evidence, other, metric)
            shown.append(Panel(_title(other), CLOCKS[clock], METRICS[metric], groups, chance))
        return lines.curves(shown, by)

    what = f"{METRICS[metric]} over {CLOCKS[clock]}, by {by}"
    return (
        what,
        _sentence(what, "thin lines are runs, thick ones their interquartile mean, bands its 95 % interval"),
        draw,
    )


def _group(evidence: Evidence, labels: Mapping[str, str], label: str, metric: str, clock: str) -> Group:
    """Runs of these labels, and their IQM with its interval up to where all have come."""
    runs = []
    for trial in _trials(evidence, labels):
        rows = evidence.rows[trial.name]
        runs.append(([row[clock] for row in rows], [row[metric] for row in rows]))
    shared = min((len(values) for _, values in runs), default=0)
    scores = np.array([values[:shared] for _, values in runs], float).T
    found = [statistics.interval(column, draws=DRAWS) for column in scores]
    middle, low, high = (np.array([one[k] for one in found]) for k in range(3))
    return Group(label, runs[0][0][:shared] if runs else [], middle, low, high, runs)


def _chart(results: Results, evidence: Evidence, part: Part, other: Mapping[str, str]) -> Chart:
    """A measure over an axis, a series for each point of another."""
    measure, x, by = (part.options[name] for name in ("measure", "x", "by"))
    measured = results.study.measures[measure]
    place = _time_place if measured.is_time else _score_place
    series = []
    for point in _points(_axis(results, by)):
        labels = [{**other, **point, x: label} for label in results.study.axis(x).labels]
        places = [place(chosen[x], results.of(measure, chosen)) for chosen in labels]
        series.append(Series(point.get(by, ""), places))
    chance = None if measured.is_time else _chance(evidence, other, measured.options.get("metric"))
    return Chart(_title(other), x, measure, series, chance, part.options.get("log", False))


def _score_place(label: str, scores: Sequence[Any]) -> Place:
    return Place(label, *(statistics.interval(scores) if scores else NOTHING), scores)


def _time_place(label: str, times: Sequence[Any]) -> Place:
    median = arrivals(times).median() if times else None
    there, missed = ([time.when for time in times if time.arrived is arrived] for arrived in (True, False))
    return Place(label, float("nan") if median is None else median, float("nan"), float("nan"), there, missed)


def _charted(draw_all: Callable[[Sequence[Chart], str], Figure]) -> Callable[[Evidence, Results, Part], Drawn]:
    def drawn(evidence: Evidence, results: Results, part: Part) -> Drawn:
        measure, x, by = (part.options[name] for name in ("measure", "x", "by"))
        measured = results.study.measures[measure]

        def draw() -> Figure:
            return draw_all(
                [_chart(results, evidence, part, other) for other in _others(results, part)], by or ""
            )

        what = f"{measure}, {described(measured)}, by {x}{f' and {by}' if by else ''}"
        if measured.is_time:
            told = "dots are runs, the line is their median; hollow ones had not arrived when they ended"
        else:
            told = "dots are runs, the line or bar is their interquartile mean with its 95 % interval"
        return what, _sentence(what, told), draw

    return drawn


def _heat_map(evidence: Evidence, results: Results, part: Part) -> Drawn:
    del evidence
    measure, x, y = (part.options[name] for name in ("measure", "x", "y"))
    columns, rows = (results.study.axis(name).labels for name in (x, y))
    is_time = results.study.measures[measure].is_time
    place = _time_place if is_time else _score_place

    def draw() -> Figure:
        shown = []
        for other in _others(results, part):
            values = [
                [place("", results.of(measure, {**other, x: c, y: r})).value for c in columns] for r in rows
            ]
            shown.append(Grid(_title(other), x, y, columns, rows, np.array(values, float)))
        return grids.heat_map(shown)

    what = f"{measure}, {described(results.study.measures[measure])}, by {x} and {y}"
    return (
        what,
        _sentence(what, f"each number is the {'median' if is_time else 'interquartile mean'} of its runs"),
        draw,
    )


def _sentence(what: str, how: str) -> str:
    return f"{what[0].upper()}{what[1:]}: {how}."


_KINDS: dict[str, Callable[[Evidence, Results, Part], Drawn]] = {
    "curves": _curves,
    "line": _charted(charts.line),
    "bars": _charted(charts.bars),
    "heat_map": _heat_map,
}
