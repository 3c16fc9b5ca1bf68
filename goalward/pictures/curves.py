"""Learning curves of runs, a column for each environment, and a table. Seeds of equal settings share a line."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goalward import machine, runs
from goalward.config import TrainConfig, owners, to_dict
from goalward.errors import UserError
from goalward.files import short
from goalward.pictures import lines, style
from goalward.pictures.figures import check_new, own_settings, save, tidy
from goalward.pictures.tables import markdown

# What is drawn, from top to bottom: the metric and its label.
MEASURES = {
    "success_rate": "success rate",
    "time_at_goal_fraction": "time at goal, share",
    "final_distance": "final distance",
}
# Settings that tell no runs apart: the panel names the environment, the others do not change what is learned.
UNTOLD = ("env", "seed", "keep_last", "block_norms")
LABEL_WIDTH = 38  # characters in a line of the legend


# Pictures that matplotlib writes by itself; others, such as .pgf, need programs that may be missing.
KINDS = (".png", ".pdf", ".svg", ".jpg")


class Curve(NamedTuple):
    """Evaluations of one run."""

    config: TrainConfig
    rows: list[dict[str, Any]]  # one an evaluation, as in metrics.jsonl


def load(directories: Sequence[Path]) -> list[Curve]:
    """The evaluations of each run. Raises `UserError` for a directory without any, or for no directory."""
    if not directories:
        raise UserError("no run is named; name one or more, such as: runs/a runs/b")
    curves = [Curve(runs.load_config(path), runs.read_metrics(path)) for path in directories]
    for path, curve in zip(directories, curves, strict=True):
        if not curve.rows:
            command = machine.command("train", "--resume", path)
            raise UserError(f"{path} has no evaluation yet; train it with: {command}")
    return curves


def differences(configs: Sequence[TrainConfig]) -> list[str]:
    """What tells each configuration from others on its environment, such as "depth=4, discount=0.95".

    Settings go by the names of their flags, those of the environment by their own; one that only other runs
    give has its default.
    """
    flat = [_flat(to_dict(config)) for config in configs]
    told = []
    for config, values in zip(configs, flat, strict=True):
        peers = [other for other, peer in zip(flat, configs, strict=True) if peer.env == config.env]
        names = list(dict.fromkeys(name for peer in peers for name in peer if name not in UNTOLD))
        differing = [
            name
            for name in names
            if any(peer.get(name) != values.get(name) for peer in peers if _both_have(name, peer, values))
        ]
        told.append(", ".join(f"{name}={values.get(name, 'default')}" for name in differing))
    return told


def _both_have(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a setting, where it is one of agents, is one of both runs' agents."""
    its = owners(name)
    return not its or {one["agent"], other["agent"]} <= set(its)


def _flat(values: Mapping[str, Any], part: str = "") -> dict[str, Any]:
    """Nested settings by their own names, unique but for an environment's; a part's `name` by the part's."""
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, name) if isinstance(value, Mapping) else {part if name == "name" else name: value}
    return flat


def table(curves: Sequence[Curve]) -> str:
    """Markdown: of each run its first evaluation, before learning, its last, and (in brackets) random ones."""
    told = differences([curve.config for curve in curves])
    lines = []
    for (config, rows), difference in zip(curves, told, strict=True):
        first, last = rows[0], rows[-1]
        numbers = [f"{last['env_steps']:,}", f"{last['updates']:,}", f"{last['seconds'] / 60:.0f}"]
        changes = [f"{first[name]:.2f} → {last[name]:.2f} ({_chance(last, name)})" for name in MEASURES]
        lines.append([f"`{short(config.env)}`", difference, str(config.seed), *numbers, *changes])
    head = ["environment", "settings", "seed", "env steps", "updates", "minutes", *MEASURES.values()]
    if not any(told):
        head.remove("settings")
        lines = [[env, *rest] for env, _, *rest in lines]
    return markdown([*head[:-3], *(f"{name} (random)" for name in head[-3:])], lines)


def _chance(row: Mapping[str, Any], measure: str) -> str:
    chance = row.get(f"random_{measure}")
    return "–" if chance is None else f"{chance:.2f}"


@own_settings()
def draw(curves: Sequence[Curve], path: Path, *, force: bool = False) -> None:
    """Each measure over environment steps, or updates where a dataset is learned from, in a row of its own.

    Runs that differ by seed alone are a thin line each, their mean a thick one, with a band from the lowest to
    the highest. Random actions are a dotted line. Raises `UserError` for an unknown suffix and, without
    `force`, for a file that is there already.
    """
    names = list(dict.fromkeys(curve.config.env for curve in curves))
    figure = Figure(figsize=(3.2 * len(names) + 0.6, 6.8), layout="constrained")
    if path.suffix.lower() not in KINDS:
        raise UserError(f"out is {path}; pictures are written as {', '.join(KINDS)}")
    check_new([path], force=force)
    panels = figure.subplots(len(MEASURES), len(names), sharex="col", squeeze=False)
    for column, name in zip(panels.T, names, strict=True):
        shown = [curve for curve in curves if curve.config.env == name]
        groups, clock = _groups(shown), _clock(shown)
        column[0].set_title(short(name))
        for axes, measure in zip(column, MEASURES, strict=True):
            _draw_groups(axes, groups, measure, clock)
        column[-1].set(xlabel="updates" if clock == "updates" else "environment steps")
        column[-1].legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.3))
    for axes, label in zip(panels[:, 0], MEASURES.values(), strict=True):
        axes.set_ylabel(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def _clock(curves: Sequence[Curve]) -> str:
    """What tells the time of all these runs: not environment steps, where one of them takes none."""
    return "updates" if any(curve.config.is_offline for curve in curves) else "env_steps"


def _groups(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Runs on one environment that differ by seed alone, by a label that names settings and seeds."""
    by_setting: dict[str, list[Curve]] = {}
    for curve, setting in zip(curves, differences([curve.config for curve in curves]), strict=True):
        by_setting.setdefault(setting, []).append(curve)
    return {_label(setting, group): group for setting, group in by_setting.items()}


def _label(setting: str, group: Sequence[Curve]) -> str:
    seeds = sorted(curve.config.seed for curve in group)
    which = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    label = f"{setting}; {which}" if setting else which
    return textwrap.fill(f"{label}: mean, lowest, highest" if len(seeds) > 1 else label, LABEL_WIDTH)


def _draw_groups(axes: Axes, groups: Mapping[str, Sequence[Curve]], measure: str, clock: str) -> None:
    looks = style.looks(list(groups))
    for label, group in groups.items():
        lines.draw(axes, _band(label, group, measure, clock), looks[label])
    _draw_chance(axes, [curve for group in groups.values() for curve in group], measure)
    if measure == "final_distance":
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(-0.03, 1.03)
    style.thousands(axes.xaxis)
    tidy(axes)


def _band(label: str, group: Sequence[Curve], measure: str, clock: str) -> lines.Group:
    """Mean, lowest and highest of runs up to where all have come; they were evaluated after equal steps."""
    shared = range(min(len(rows) for _, rows in group))
    values = np.array([[rows[k][measure] for k in shared] for _, rows in group])
    runs = [([row[clock] for row in rows], [row[measure] for row in rows]) for _, rows in group]
    steps = [group[0].rows[k][clock] for k in shared]
    return lines.Group(label, steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0), runs)


def _draw_chance(axes: Axes, curves: Sequence[Curve], measure: str) -> None:
    """The mean over runs of what random actions achieve, where it is recorded."""
    found = [rows[-1][f"random_{measure}"] for _, rows in curves if f"random_{measure}" in rows[-1]]
    if found:
        axes.axhline(float(np.mean(found)), label="random actions", **lines.CHANCE)
