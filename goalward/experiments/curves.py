"""Learning curves of runs: a column for each environment, a line for each run, and a table.

python -m goalward.experiments.curves runs/reach-s0 runs/reach-s1 --out curves.png
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from goalward import runs
from goalward.config import TrainConfig
from goalward.errors import UserError

# What is drawn, from top to bottom: the metric and its label.
MEASURES = {
    "success_rate": "success rate",
    "time_at_goal_fraction": "time at goal, share",
    "final_distance": "final distance",
}


@dataclass(frozen=True)
class Curves:
    """Draw learning curves of runs."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path = Path("curves.png")
    """Picture to write."""


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
    head = ["environment", "seed", "env steps", "updates", "minutes"]
    lines = ["| " + " | ".join([*head, *MEASURES.values()]) + " |", "|---" * (len(head) + len(MEASURES)) + "|"]
    for config, rows in curves:
        first, last = rows[0], rows[-1]
        numbers = [f"{last['env_steps']:,}", f"{last['updates']:,}", f"{last['seconds'] / 60:.0f}"]
        changes = [f"{first[name]:.2f} → {last[name]:.2f}" for name in MEASURES]
        lines.append("| " + " | ".join([f"`{config.env}`", str(config.seed), *numbers, *changes]) + " |")
    return "\n".join(lines)


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Each measure over environment steps, in a row of its own."""
    names = list(dict.fromkeys(curve.config.env for curve in curves))
    figure = Figure(figsize=(3.2 * len(names) + 0.6, 6.4), layout="constrained")
    panels = figure.subplots(len(MEASURES), len(names), sharex="col", squeeze=False)
    for column, name in zip(panels.T, names, strict=True):
        column[0].set_title(name)
        for axes, measure in zip(column, MEASURES, strict=True):
            _draw_lines(axes, [curve for curve in curves if curve.config.env == name], measure)
        column[-1].set(xlabel="environment steps")
        column[0].legend(frameon=False, fontsize="small", loc="upper left")
    for axes, label in zip(panels[:, 0], MEASURES.values(), strict=True):
        axes.set_ylabel(label)
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
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def main(args: Curves) -> None:
    """Print the table and draw the picture. Exits with 2 and one message for what is no run."""
    try:
        curves = load(args.directories)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    sys.stdout.write(table(curves) + "\n")
    draw(curves, args.out)


if __name__ == "__main__":
    main(tyro.cli(Curves))
