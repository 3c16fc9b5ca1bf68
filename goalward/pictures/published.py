"""Published results to lay beside one's own: facts of papers, with their sources, in `published.json`."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from goalward.errors import UserError
from goalward.pictures.grids import Grid
from goalward.pictures.lines import Group, Panel

OTHER = "other physics, other budget"


class Curve(NamedTuple):
    """One published curve."""

    env_steps: np.ndarray  # (E,)
    mean: np.ndarray  # (E,) in the unit of its metric
    error: np.ndarray  # (E,) of the mean


class Published(NamedTuple):
    """Curves of one figure and task."""

    title: str  # the task, and what else tells it from others of its figure
    source: str
    licence: str  # of the data, where it has one
    metric: str
    by: str  # what the labels of curves are, such as "depth"
    error: str  # what it is
    curves: Mapping[str, Curve]


def names() -> list[str]:
    """All curves and grids there are, such as "fig1/ant_u4_maze"."""
    return [*_data()["curves"], *_data()["grids"]]


def curves(name: str) -> Published:
    """Published curves by name. Raises `UserError`, with all names, for an unknown one."""
    found, source = _find("curves", name)
    steps = 1e6 * np.array(found["steps"], float)
    return Published(
        found["title"], source["source"], source.get("licence", ""), source["metric"], source["by"],
        source["error"],
        {
            label: Curve(steps, np.array(mean, float), np.array(found["error"][label], float))
            for label, mean in found["mean"].items()
        },
    )  # fmt: skip


def panel(name: str) -> Panel:
    """Published curves as a panel: means, and bands of a standard error to both sides."""
    found = curves(name)
    groups = [
        Group(label, curve.env_steps, curve.mean, curve.mean - curve.error, curve.mean + curve.error)
        for label, curve in found.curves.items()
    ]
    title = f"{found.title} ({_paper(found.source)})\n{OTHER}"
    return Panel(title, "environment steps", "steps at goal of 1000, ± s.e.", groups)


def grid(name: str) -> Grid:
    """A published table of two axes, steps at the goal of 1000. Raises `UserError` for an unknown one."""
    found, source = _find("grids", name)
    title = f"{found['title']} ({_paper(source['source'])})\nsteps at goal of 1000; {OTHER}"
    return Grid(
        title, found["x"], found["y"], found["columns"], found["rows"], np.array(found["values"], float)
    )


def number(text: str) -> tuple[float, float]:
    """A published number and its error, NaN where it has none: "11.4", "107.2 ± 24", "≈ 171".

    Raises `ValueError` for what is no such number.
    """
    value, _, error = text.removeprefix("≈").partition("±")
    return float(value), float(error) if error else float("nan")


def _paper(source: str) -> str:
    found = re.search(r"arXiv \d{4}\.\d{5}", source)
    return found[0] if found else source


def _find(kind: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is published by a name, and its source."""
    data = _data()
    if name not in data[kind]:
        raise UserError(f"no published {kind} are named {name!r}; there are {', '.join(data[kind])}")
    # A grid may be of a figure's curves, so that both have one source.
    return data[kind][name], data["sources"][name.partition("/")[0]]


@cache
def _data() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
