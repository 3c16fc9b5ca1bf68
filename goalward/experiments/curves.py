"""Learning curves of runs: a column for each environment, a line for each run, and a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from goalward import runs
from goalward.config import TrainConfig
from goalward.errors import UserError
from goalward.experiments.figures import tidy
from goalward.experiments.tables import markdown

# What is drawn, from top to bottom: the metric and its label.
MEASURES = {
    "success_rate": "success rate",
    "time_at_goal_fraction": "time at goal, share",
    "final_distance": "final distance",
}


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
            raise UserError(f"{path} has no evaluation yet; train it with: goalward train --resume {path}")
    return curves


def table(curves: Sequence[Curve]) -> str:
    """Markdown: of each run its first evaluation, before learning, and its last."""
    lines = []
    for config, rows in curves:
        first, last = rows[0], rows[-1]
        numbers = [f"{last['env_steps']:,}", f"{last['updates']:,}", f"{last['seconds'] / 60:.0f}"]
        changes = [f"{first[name]:.2f} → {last[name]:.2f}" for name in MEASURES]
        lines.append([f"`{config.env}`", str(config.seed), *numbers, *changes])
    head = ["environment", "seed", "env steps", "updates", "minutes", *MEASURES.values()]
    return markdown(head, lines)


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Each measure over environment steps, in a row of its own. Raises `UserError` for an unknown suffix."""
    names = list(dict.fromkeys(curve.config.env for curve in curves))
    figure = Figure(figsize=(3.2 * len(names) + 0.6, 6.4), layout="constrained")
    if path.suffix.lower() not in KINDS:
        raise UserError(f"out is {path}; pictures are written as {', '.join(KINDS)}")
    panels = figure.subplots(len(MEASURES), len(names), sharex="col", squeeze=False)
    for column, name in zip(panels.T, names, strict=True):
        column[0].set_title(name)
        for axes, measure in zip(column, MEASURES, strict=True):
            _draw_lines(axes, [curve for curve in curves if curve.config.env == name], measure)
        column[-1].set(xlabel="environment steps")
        column[0].legend(frameon=False, fontsize="small", loc="upper left")
    for axes, label in zip(panels[:, 0], MEASURES.values(), strict=True):
        axes.set_ylabel(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw_lines(axes: Axes, curves: Sequence[Curve], measure: str) -> None:
    for config, rows in curves:
        steps = [row["env_steps"] for row in rows]
        axes.plot(steps, [row[measure] for row in rows], linewidth=1.4, label=f"seed {config.seed}")
    if measure == "final_distance":
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    tidy(axes)
