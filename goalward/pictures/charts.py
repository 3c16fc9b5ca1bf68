"""A measure of runs against an axis: every run a point, their statistic and its interval."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from goalward.pictures import style
from goalward.pictures.figures import tidy
from goalward.pictures.lines import CHANCE, from_zero
from goalward.pictures.style import Look

SPREAD = 0.5  # of the way to the next place along the axis, over which series and runs are spread at most
APART, BESIDE = 0.03, 0.015  # of the axis: between series of a line figure, and of runs to each side at most
# A run that never arrived, where it was last seen: hollow, and pointing on.
MISSED: dict[str, Any] = {"facecolors": "white", "zorder": 3, "s": 34, "linewidths": 1.2}


class Place(NamedTuple):
    """Runs of one setting, and what statistics say of them; where there is none, NaN."""

    label: str  # of the setting along the axis
    value: float
    low: float  # of the interval; none is drawn where it is not finite
    high: float
    runs: Sequence[float] = ()
    missed: Sequence[float] = ()  # of times: when runs that never arrived were last seen


class Series(NamedTuple):
    """Places along the axis, of one other setting."""

    label: str
    places: Sequence[Place]


class Chart(NamedTuple):
    """Series that share axes."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    chance: Mapping[str, float] = MappingProxyType({})  # what random actions achieve, by labels of places
    log: bool = False  # along the axis


@style.large_text()
def line(shown: Sequence[Chart], heading: str = "") -> Figure:
    """Charts side by side, each with axes of its own; x at the numbers that labels stand for.

    Where a label is none, places are equally far apart. `heading` says what the labels of series are.
    """
    figure, axes = style.panels(len(shown))
    looks = _looks(shown)
    for one, chart in zip(axes, shown, strict=True):
        at = _numbers(one, chart)
        for i, series in enumerate(chart.series):
            _draw_line(one, series, looks[series.label], at, i, len(chart.series))
        if len(set(chart.chance.values())) == 1:
            one.axhline(*set(chart.chance.values()), **CHANCE)
        else:
            one.plot([at[label] for label in chart.chance], list(chart.chance.values()), **CHANCE)
        one.set(xlabel=chart.x, ylabel=chart.y)
        _finish(one, chart, one.yaxis)
    style.legend(figure, _handles(shown, looks, "^"), heading)
    return figure


@style.large_text()
def bars(shown: Sequence[Chart], heading: str = "") -> Figure:
    """Charts side by side, with a bar for each place of an axis whose labels are words, from top to bottom."""
    figure, axes = style.panels(len(shown))
    most = max((len(_labels(chart)) * max(len(chart.series), 1) for chart in shown), default=1)
    rows = -(-len(shown) // 2)
    figure.set_figheight(rows * max(1.7 + 0.34 * most, 2.4))
    looks = _looks(shown)
    for one, chart in zip(axes, shown, strict=True):
        labels = _labels(chart)
        at = {label: -float(i) for i, label in enumerate(labels)}
        for i, series in enumerate(chart.series):
            _draw_bars(one, series, looks[series.label], at, i, len(chart.series))
        for label, value in chart.chance.items():
            one.plot([value] * 2, [at[label] - 0.5, at[label] + 0.5], **CHANCE)
        one.set(xlabel=chart.y, ylabel=chart.x)
        one.set_yticks(list(at.values()), [style.fill(label, 2.0) for label in labels])
        one.set_ylim(-len(labels) + 0.4, 0.6)
        _finish(one, chart, one.xaxis)
        one.grid(visible=False, axis="y")
    style.legend(figure, _handles(shown, looks, ">"), heading)
    return figure


def _draw_line(axes: Axes, series: Series, look: Look, at: dict[str, float], index: int, number: int) -> None:
    """A line through statistics, whiskers, and a dot for each run."""
    apart, width = _spread(number, at)
    x = np.array([at[place.label] for place in series.places]) + (index - (number - 1) / 2) * apart
    values = np.array([place.value for place in series.places], float)
    order = np.argsort(x)
    axes.plot(
        x[order], values[order], color=look.colour, linestyle=look.dashes, linewidth=2, marker=look.marker,
        markersize=6, markeredgecolor="white", zorder=4,
    )  # fmt: skip
    for middle, place in zip(x, series.places, strict=True):
        low, high = _whisker(place)
        if low < high:
            axes.plot([middle] * 2, [low, high], color=look.colour, linewidth=2, zorder=3)
        spots, missed = _spots(place, middle, width)
        axes.scatter(spots, place.runs, color=look.colour, alpha=0.45, s=18, linewidths=0, zorder=2)
        axes.scatter(missed, place.missed, marker="^", edgecolors=look.colour, **MISSED)


def _draw_bars(axes: Axes, series: Series, look: Look, at: dict[str, float], index: int, number: int) -> None:
    """A bar up to each statistic, a whisker, and a dot for each run."""
    height = 0.72 / number
    for place in series.places:
        y = at[place.label] + 0.36 - (index + 0.5) * height
        if np.isfinite(place.value):
            axes.barh(y, place.value, height=height * 0.9, color=look.colour, alpha=0.4, linewidth=0)
            axes.plot([place.value] * 2, [y - height * 0.45, y + height * 0.45], color=look.colour, linewidth=2)
        low, high = _whisker(place)
        if low < high:
            axes.plot([low, high], [y, y], color=look.colour, linewidth=2, zorder=3)
        spots, missed = _spots(place, y, height * 0.4)
        axes.scatter(
            place.runs, spots, color=look.colour, s=20, zorder=4, marker=look.marker,
            edgecolors="white", linewidths=0.5,
        )  # fmt: skip
        axes.scatter(place.missed, missed, marker=">", edgecolors=look.colour, **MISSED)


def _whisker(place: Place) -> tuple[float, float]:
    """The interval as it is drawn: of times, no farther than runs were seen; NaN where there is none."""
    high = min(place.high, max(place.missed)) if place.missed else place.high
    return (place.low, high) if np.isfinite([place.low, high]).all() else (np.nan, np.nan)


def _looks(shown: Sequence[Chart]) -> dict[str, Look]:
    return style.looks([series.label for chart in shown for series in chart.series])


def _labels(chart: Chart) -> list[str]:
    """Labels along the axis, in the order in which they first come."""
    return list(dict.fromkeys(place.label for series in chart.series for place in series.places))


def _numbers(axes: Axes, chart: Chart) -> dict[str, float]:
    """Where along x each label is; of a logarithmic axis, or one of words, each has a tick."""
    labels = _labels(chart)
    if not all(style.is_number(label) for label in labels):
        at = {label: float(i) for i, label in enumerate(labels)}
    elif chart.log and all(float(label) > 0 for label in labels):
        at = {label: float(np.log2(float(label))) for label in labels}
    else:
        style.thousands(axes.xaxis)
        return {label: float(label) for label in labels}
    axes.set_xticks(list(at.values()), labels)
    return at


def _gap(at: dict[str, float]) -> float:
    """The least way between places."""
    places = np.unique(list(at.values()))
    return float(np.diff(places).min()) if len(places) > 1 else 1.0


def _spread(number: int, at: dict[str, float]) -> tuple[float, float]:
    """How far series stand apart, and runs to each side of theirs: little, so that x can be read."""
    whole = float(np.ptp(list(at.values()))) if len(at) > 1 else 1.0
    room = _gap(at) * SPREAD / max(number, 1)
    return min(whole * APART, room), min(whole * BESIDE, room * 0.4)


def _spots(place: Place, middle: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Where runs stand around a place, in their order: those with a value, and those without."""
    number = len(place.runs) + len(place.missed)
    spots = middle + np.linspace(-width, width, number) if number > 1 else np.full(number, middle)
    return spots[: len(place.runs)], spots[len(place.runs) :]


def _finish(axes: Axes, chart: Chart, measured: Axis) -> None:
    found = [
        value for series in chart.series for place in series.places
        for value in (place.value, *place.runs, *place.missed)
    ]  # fmt: skip
    style.thousands(measured)
    if not np.isfinite(np.array(found, float)).any():
        style.note(axes, "nothing was measured")
    else:
        from_zero(measured, float(np.nanmin(found)))
    style.title(axes, chart.title)
    tidy(axes)


def _handles(shown: Sequence[Chart], looks: dict[str, Look], missed: str) -> list[Line2D]:
    handles = []
    if len(looks) > 1:
        handles += [
            Line2D(
                [], [], color=look.colour, marker=look.marker, linestyle=look.dashes, linewidth=2, label=label
            )
            for label, look in looks.items()
        ]
    if any(place.missed for chart in shown for series in chart.series for place in series.places):
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": style.GREY, "linestyle": ""}
        handles.append(Line2D([], [], marker=missed, label="not there when last seen", **hollow))
    if any(chart.chance for chart in shown):
        handles.append(Line2D([], [], label="random actions", **CHANCE))
    return handles
