"""A first look at depth: runs of several depths and seeds on one maze, their figures and their table.

python -m goalward.lab.depth runs/depth --train     # train what is missing, resume what was stopped
python -m goalward.lab.depth runs/depth --out docs/images
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import tyro
from matplotlib.figure import Figure

from goalward import machine, runs
from goalward.pictures import figures
from goalward.pictures.tables import markdown
from goalward.policy import load_run

LAST = 5  # a run's score is the mean of its last evaluations, so many
THERE = 0.25  # time at goal, as a share, that counts as having got there


@dataclass(frozen=True)
class Study:
    """Train and compare depths on point_u4_maze with its far goals, at equal updates."""

    folder: tyro.conf.Positional[Path]
    """Where the runs are, one directory each."""
    train: bool = False
    """Train the missing runs first."""
    out: Path | None = None
    """Folder for the figures; without it only the table is printed."""
    depths: tuple[int, ...] = (4, 8, 16, 32)
    """Depths to train."""
    seeds: int = 5
    """Seeds of each depth."""
    updates: int = 12_000
    """Updates of each run; of one that is longer, those that are looked at."""
    cores: int = field(default_factory=machine.cores)
    """Runs at a time, each held to one core."""


class Curve(NamedTuple):
    """Evaluations of one run."""

    depth: int
    seed: int
    updates: np.ndarray  # (E,)
    time_at_goal: np.ndarray  # (E,) share of the episode
    directory: Path
    longer: bool = False  # the run went on after these evaluations

    def score(self) -> float:
        """Mean of the last evaluations."""
        return float(self.time_at_goal[-LAST:].mean())


def command(study: Study, depth: int, seed: int) -> list[str]:
    """The `goalward train` command of one run; it resumes one that was stopped."""
    directory = study.folder / f"d{depth}-s{seed}"
    base = [sys.executable, "-m", "goalward", "train"]
    if runs.is_run(directory):
        return [*base, "--resume", str(directory)]
    iterations = study.updates // 80
    steps = str((iterations + 400 // 50) * 512 * 50)  # 400 rows of prefill
    return [
        *base, "point_u4_maze", "--eval-env", "point_u4_maze_eval", "--num-envs", "512",
        "--depth", str(depth), "--seed", str(seed), "--total-env-steps", steps,
        "--epochs", str(iterations // 15), "--keep-last", "1", "--out", str(directory),
    ]  # fmt: skip


def train_all(study: Study) -> None:
    """Run every (depth, seed) that is not finished, one process a core; one seed of all depths first."""
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: study.cores]:
        cores.put(core)

    def job(depth: int, seed: int) -> None:
        core = cores.get()
        try:
            with (study.folder / f"d{depth}-s{seed}.log").open("a", encoding="utf-8") as log:
                pinned = ["taskset", "--cpu-list", str(core), *command(study, depth, seed)]
                subprocess.run(pinned, stdout=log, stderr=log, check=False)
        finally:
            cores.put(core)

    study.folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(study.cores) as pool:
        for seed in range(study.seeds):
            for depth in study.depths:
                pool.submit(job, depth, seed)


def load(folder: Path, most_updates: int) -> list[Curve]:
    """Curves of all runs in a folder, by depth and seed, each cut at so many updates: all are alike."""
    curves = []
    for directory in sorted(path for path in folder.iterdir() if runs.is_run(path)):
        config = runs.load_config(directory)
        recorded = runs.read_metrics(directory)
        rows = [row for row in recorded if row["updates"] <= most_updates]
        if rows:
            updates = np.array([row["updates"] for row in rows])
            shares = np.array([row["time_at_goal_fraction"] for row in rows])
            longer = len(rows) < len(recorded)
            curves.append(Curve(config.network.depth, config.seed, updates, shares, directory, longer))
    return sorted(curves, key=lambda curve: (curve.depth, curve.seed))


def arrival(curve: Curve) -> int | None:
    """Updates at the first evaluation that got there; None if none did."""
    there = curve.time_at_goal >= THERE
    return int(curve.updates[np.argmax(there)]) if there.any() else None


def steadiness(curve: Curve) -> float:
    """Share of the evaluations since the arrival that got there too; NaN without an arrival."""
    there = curve.time_at_goal >= THERE
    return float(there[np.argmax(there) :].mean()) if there.any() else float("nan")


def table(curves: Sequence[Curve]) -> str:
    """Markdown: by depth, who got there, when, how well at the end and how steadily."""
    head = (
        "depth",
        "seeds",
        "got there",
        "updates until then",
        "last 5, mean ± s.e.",
        "each seed",
        "steadiness",
    )
    rows = []
    for depth in sorted({curve.depth for curve in curves}):
        group = [curve for curve in curves if curve.depth == depth]
        scores = np.array([curve.score() for curve in group])
        arrivals = sorted(updates for curve in group if (updates := arrival(curve)) is not None)
        error = scores.std(ddof=1) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
        steady = [steadiness(curve) for curve in group if arrival(curve) is not None]
        cells = (
            str(depth), str(len(group)), str(len(arrivals)), ", ".join(f"{a:,}" for a in arrivals) or "–",
            f"{scores.mean():.2f} ± {error:.2f}", ", ".join(f"{score:.2f}" for score in scores),
            f"{np.mean(steady):.2f}" if steady else "–",
        )  # fmt: skip
        rows.append(cells)
    return markdown(head, rows)


def colours(depths: Sequence[int]) -> dict[int, Any]:
    """Light to dark as depth grows."""
    shades = np.linspace(0.35, 1.0, len(depths))
    return {depth: mpl.colormaps["Blues"](shade) for depth, shade in zip(depths, shades, strict=True)}


@figures.own_settings()
def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """Time at goal over updates: a thin line a seed, a thick one the mean of a depth."""
    depths = sorted({curve.depth for curve in curves})
    shades = colours(depths)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for depth in depths:
        group = [curve for curve in curves if curve.depth == depth]
        for curve in group:
            axes.plot(curve.updates, curve.time_at_goal, color=shades[depth], linewidth=0.7, alpha=0.45)
        shortest = min(len(curve.updates) for curve in group)
        mean = np.mean([curve.time_at_goal[:shortest] for curve in group], axis=0)
        label = f"depth {depth}, {len(group)} seeds"
        axes.plot(group[0].updates[:shortest], mean, color=shades[depth], linewidth=2.4, label=label)
    axes.set(xlabel="updates", ylabel="time at goal, share of the episode", ylim=(-0.02, 1))
    axes.legend(frameon=False, loc="upper left")
    figures.tidy(axes)
    figure.savefig(path, dpi=150)


@figures.own_settings()
def draw_maps(curves: Sequence[Curve], path: Path) -> None:
    """The learned distance to the farthest goal: a median seed of the shallowest and the deepest critic.

    Runs that went on for longer than the others are left out where they can be: their critics learned more.
    """
    depths = sorted({curve.depth for curve in curves})
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    for axes, depth in zip(figure.subplots(1, 2), (depths[0], depths[-1]), strict=True):
        group = sorted((c for c in curves if c.depth == depth), key=Curve.score)
        group = [curve for curve in group if not curve.longer] or group
        curve = group[len(group) // 2]
        experiment, run = load_run(curve.directory)
        figures.draw_distances(axes, experiment, run.agent, figures.farthest_goal(figures.maze_of(experiment)))
        axes.set_title(f"depth {depth}, seed {curve.seed}, after {int(run.updates):,} updates")
    figure.savefig(path, dpi=150)


def main(study: Study) -> None:
    """Train what is missing if asked, then print the table and draw the figures."""
    if study.train:
        train_all(study)
    curves = load(study.folder, study.updates)
    sys.stdout.write(table(curves) + "\n")
    if study.out is not None:
        study.out.mkdir(parents=True, exist_ok=True)
        draw_curves(curves, study.out / "depth_curves.png")
        draw_maps(curves, study.out / "depth_distance.png")


if __name__ == "__main__":
    main(tyro.cli(Study))
