"""Curves of groups of runs over a clock: each run a thin line, their middle a thick one within a band."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from goalward.pictures import style
from goalward.pictures.figures import tidy
from goalward.pictures.style import Look

CHANCE: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 1.2}


class Group(NamedTuple):
    """Runs of one setting over a clock, and what statistics say of them; where there is none, NaN."""

    label: str
    clock: ArrayLike  # (E,) of what follows
    middle: ArrayLike  # (E,) such as a mean
    low: ArrayLike  # (E,) of the band; none where it is not finite
    high: ArrayLike  # (E,)
    runs: Sequence[tuple[ArrayLike, ArrayLike]] = ()  # clock and values of each


class Panel(NamedTuple):
    """Groups that share axes."""

    title: str
    x: str
    y: str
    groups: Sequence[Group]
    chance: float | None = None  # what random actions achieve


@style.large_text()
def curves(shown: Sequence[Panel], heading: str = "") -> Figure:
    """Panels side by side, each with axes of its own. A label has the same colour in all of them.

    Groups whose labels are numbers go from light to dark. `heading` says what the labels are.
    """
    figure, axes = style.panels(len(shown))
    looks = style.looks([group.label for panel in shown for group in panel.groups])
    for one, panel in zip(axes, shown, strict=True):
        _draw_panel(one, panel, looks)
    handles = [Line2D([], [], label=label, **_line(look)) for label, look in looks.items()]
    if any(panel.chance is not None for panel in shown):
        handles.append(Line2D([], [], label="random actions", **CHANCE))
    style.legend(figure, handles, heading)
    return figure


def _draw_panel(axes: Axes, panel: Panel, looks: dict[str, Look]) -> None:
    for group in panel.groups:
        draw(axes, group, looks[group.label])
    if panel.chance is not None:
        axes.axhline(panel.chance, **CHANCE)
    axes.set(xlabel=panel.x, ylabel=panel.y)
    for axis in (axes.xaxis, axes.yaxis):
        style.thousands(axis)
    found = np.concatenate([np.zeros(0), *map(_values, panel.groups)])
    if not np.isfinite(found).any():
        style.note(axes, "nothing was measured")
    else:
        from_zero(axes.yaxis, float(np.nanmin(found)))
    style.title(axes, panel.title)
    tidy(axes)


def from_zero(axis: Axis, least: float) -> None:
    """Let an axis begin at 0, which is drawn whole, unless there are values below."""
    if least >= 0:
        _, high = axis.get_view_interval()
        axis.set_view_interval(-0.03 * high, 1.02 * high, ignore=True)


def _values(group: Group) -> np.ndarray:
    return np.concatenate(
        [np.asarray(v, float).ravel() for v in (group.middle, *(run[1] for run in group.runs))]
    )


def _line(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.dashes, "linewidth": 2.0}


def draw(axes: Axes, group: Group, look: Look) -> None:
    """Add a group to a panel; its middle alone has its label."""
    if len(group.runs) > 1:
        for clock, values in group.runs:
            axes.plot(
                np.asarray(clock), np.asarray(values, float), color=look.colour, linewidth=0.7, alpha=0.45
            )
    clock, middle, low, high = (np.asarray(values, float) for values in group[1:5])
    # A point that has no neighbour makes no line.
    alone = {"marker": "o", "markersize": 4} if np.isfinite(middle).sum() == 1 else {}
    axes.plot(clock, middle, label=group.label, **_line(look), **alone)
    known = np.isfinite(low) & np.isfinite(high)
    if known.any() and (low[known] < high[known]).any():
        axes.fill_between(
            clock, np.where(known, low, np.nan), np.where(known, high, np.nan),
            color=look.colour, alpha=0.16, linewidth=0,
        )  # fmt: skip
