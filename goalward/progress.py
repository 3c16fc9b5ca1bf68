"""What a person sees of a run: a progress bar, a line an epoch, and tables."""

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from goalward.config import TrainConfig, agent_name
from goalward.diagnosis import Diagnosis
from goalward.doctor import GOOD, Line
from goalward.findings import NOTE, PROBLEM, WARNING
from goalward.plan import Plan
from goalward.profile import Profile
from goalward.training import Report

# Above so many environments with equal settings, the first and the last stand for all.
MOST_NAMES = 4
SEVERITY_STYLES = {PROBLEM: "bold red", WARNING: "yellow", NOTE: "cyan", GOOD: "green"}


def new_console(**options: Any) -> Console:
    """A console that prints text as it is, in notebooks too: brackets in the name of a folder are no markup."""
    return Console(markup=False, emoji=False, highlight=False, force_jupyter=False, **options)


def show(
    reports: Iterator[Report], config: TrainConfig, directory: Path, *, quiet: bool = False
) -> dict[str, Any] | None:
    """Follow a run to its end; returns the row of its last evaluation, if it came to one."""
    console = new_console(quiet=quiet)
    columns = (
        TextColumn("[bold]{task.fields[stage]}"),
        BarColumn(bar_width=10),
        TextColumn("{task.percentage:3.0f}%  {task.fields[rates]}  left"),
        TimeRemainingColumn(compact=True),
    )
    last: Report | None = None
    evaluated: dict[str, Any] | None = None
    # Beside a log of standard output, which holds a line an epoch and no more, the bar goes to standard error;
    # on a terminal both share one console, which keeps the lines above the bar.
    below = console if console.is_terminal else new_console(stderr=True, quiet=quiet)
    if not below.is_terminal:  # no bar is to be seen, nor the empty line that would end it
        below = new_console(quiet=True)
    with Progress(*columns, console=below, transient=True) as bar:
        total = config.iterations
        task = bar.add_task("", total=total, stage="compiling", rates="")
        for report in reports:
            bar.update(task, completed=report.iteration, stage=f"epoch {report.epoch}/{config.epochs}")
            if last is None:
                console.print(f"{_title(config)}, seed {config.seed}", style="bold")
                console.print(f"→ {directory}", style="bold", soft_wrap=True)
            elif _is_typical(last, report, config):
                bar.update(task, rates=_rates(last, report))
            if report.evaluation is not None:
                if evaluated is None:
                    console.print(*_heading(report), sep="\n", soft_wrap=True)
                evaluated = report.row()
                console.print(_epoch(report, config), soft_wrap=True)
            last = report
    if last is None:
        console.print("nothing to do: the run has come to its end; --epochs with more goes on")
    return evaluated


def _title(config: TrainConfig) -> str:
    return f"{config.env}, {agent_name(config.agent)}, depth {config.network.depth}"


def _is_typical(last: Report, report: Report, config: TrainConfig) -> bool:
    """Whether the time between two reports holds no compilation, and no evaluation but where each has one.

    An iteration compiles in the first one of a session, which follows the report of no updates or none at all.
    """
    return last.updates > 0 and (report.evaluation is None or config.iterations < 2 * config.epochs)


def _rates(last: Report, report: Report) -> str:
    seconds = max(report.seconds - last.seconds, 1e-9)
    steps = (report.env_steps - last.env_steps) / seconds
    of_worlds = f"{steps:,.0f} steps/s  " if report.env_steps else ""
    return f"{of_worlds}{(report.updates - last.updates) / seconds:,.0f} updates/s"


def _heading(report: Report) -> list[str]:
    """The heading of the table of epochs, and what random actions achieve as its first line."""
    names = ("epoch", "env steps", "updates", "seconds", "success", "at goal", "distance")
    return [_line(*names), _line("random", "", "", "", *_means(report.chance, "random_"))]


def _epoch(report: Report, config: TrainConfig) -> str:
    counts = f"{report.env_steps:,}", f"{report.updates:,}", f"{report.seconds:.0f}"
    line = _line(f"{report.epoch}/{config.epochs}", *counts, *_means(report.row()))
    return line + (f"  {report.faults} faults" if report.faults else "")


def _line(*cells: str) -> str:
    """A line of the table of epochs, which grows while it is printed; with faults it fits 80 columns."""
    widths = (9, 14, 11, 8, 8, 8, 9)
    return "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _means(row: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Success rate, share of the time at the goal and final distance; – for what a row lacks."""
    names = ("success_rate", "time_at_goal_fraction", "final_distance")
    return [f"{row[prefix + name]:.2f}" if prefix + name in row else "–" for name in names]


def busy(what: str) -> AbstractContextManager[Any]:
    """Say on a terminal what takes so long, beside a spinner on standard error."""
    return new_console(stderr=True).status(what)


def print_plan(plan: Plan, config: TrainConfig) -> None:
    """Print what a run will cost as a table."""
    memory = plan.memory
    parts = ", ".join(f"{name} {count:,}" for name, count in plan.parameters.items())
    table = Table(title=f"{_title(config)}, width {config.network.width}", show_header=False)
    table.add_row("parameters", f"{sum(plan.parameters.values()):,}", parts)
    table.add_section()
    for name in ("weights", "optimiser", "replay", "worlds", "activations"):
        note = {
            "activations": "and gradients",
            "replay": f"{plan.buffer_rows} rows of the dataset"
            if config.is_offline
            else f"{config.num_envs} worlds × {plan.buffer_rows} rows",
        }
        table.add_row(name, f"{getattr(memory, name) / 1e6:,.1f} MB", note.get(name, ""))
    table.add_row("memory in all", f"{memory.needed() / 1e6:,.1f} MB", f"{memory.free / 1e9:.1f} GB are free")
    table.add_section()
    arithmetic = f"{plan.update_flops / 1e9:,.2f} GFLOP, at {plan.gflops_per_second:,.0f} GFLOP/s"
    table.add_row("an update", f"{1e3 * plan.speed.update:,.1f} ms", arithmetic)
    rows = config.steps_per_round
    if not config.is_offline:
        table.add_row("a round of collection", f"{1e3 * plan.speed.collect:,.1f} ms", f"{rows:,} env steps")
    table.add_row("compilation", f"{plan.speed.compile:,.1f} s")
    if not config.is_offline:
        rates = f"{plan.env_steps_per_second:,.0f} env steps/s, {plan.updates_per_second:,.1f} updates/s"
        table.add_row("both in turn", rates)
    table.add_section()
    length = datetime.timedelta(seconds=round(plan.seconds))
    amount = f"{plan.env_steps:,} env steps, {plan.updates:,} updates, {config.epochs} evaluations"
    table.add_row("time to the end", str(length), amount, style="bold")
    new_console().print(table)


def print_profile(profile: Profile, folder: Path) -> None:
    """Print where an iteration's and an evaluation's time went as a table."""
    iteration = sum(time for part, time in profile.parts.items() if part != "evaluate")
    table = Table(title=f"one iteration: {profile.seconds['iteration']:.3f} s on the clock")
    for name in ("part", "seconds, all threads", "share"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part, time in profile.parts.items():
        if part == "evaluate":
            table.add_section()
        table.add_row(part, f"{time:.4f}", "" if part == "evaluate" else f"{time / iteration:.1%}")
    console = new_console()
    console.print(table)
    console.print(f"traces, for TensorBoard's profile plugin or ui.perfetto.dev: {folder}", soft_wrap=True)


def print_evaluation(evaluation: Mapping[str, Any], title: str) -> None:
    """Print an evaluation as a table: a row for each goal, if one comes twice; all; and chance."""
    table = Table(title=title)
    for name in ("goal", "episodes", "success", "at the end", "time at goal", "final distance"):
        table.add_column(name, justify="right", no_wrap=name == "goal")
    repeats = len(evaluation["by_goal"]) < evaluation["episodes"]
    for row in evaluation["by_goal"] if repeats else []:
        table.add_row("(" + ", ".join(f"{x:.2f}" for x in row["goal"]) + ")", *_cells(row))
    table.add_section()
    table.add_row("all", *_cells(evaluation), style="bold")
    random = {
        name.removeprefix("random_"): value for name, value in evaluation.items() if name.startswith("random_")
    }
    table.add_row("random actions", *_cells({**evaluation, **random}))
    new_console().print(table)


def print_summary(summary: Mapping[str, Any], pictures: Iterable[Path], following: Iterable[str]) -> None:
    """Print the figures of a summary, where its pictures are, and commands that may follow."""
    console = new_console()
    console.print(
        f"success rate {summary['success_rate']:.2f}, time at goal {summary['time_at_goal']:.0f} steps;\n"
        f"random actions: {summary['random_success_rate']:.2f}, {summary['random_time_at_goal']:.0f} steps;\n"
        f"{summary['env_steps']:,} env steps and {summary['updates']:,} updates in {summary['seconds']:.0f} s"
    )
    for path in pictures:
        console.print(f"  {path}", soft_wrap=True)
    console.print("what next:")
    for command in following:
        console.print(f"  {command}", soft_wrap=True)


def _cells(row: Mapping[str, Any]) -> list[str]:
    shares = [f"{row[name]:.2f}" for name in ("success_rate", "final_success")]
    return [str(row["episodes"]), *shares, f"{row['time_at_goal']:.1f}", f"{row['final_distance']:.2f}"]


def print_lines(lines: Sequence[Line]) -> None:
    """Print what was looked at, a line for each thing, and remedies."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(Text(line.state, style=SEVERITY_STYLES[line.state]), line.name, Text(line.told))
        if line.remedy:
            table.add_row("", "", Text(f"→ {line.remedy}", style="dim"))
    new_console().print(table)


def print_diagnosis(diagnosis: Diagnosis, name: str) -> None:
    """Print what was found in an environment, the gravest first, and what random actions achieve there."""
    console, measured = new_console(), diagnosis.measured
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in diagnosis.findings:
        table.add_row(Text(finding.severity, style=SEVERITY_STYLES[finding.severity]), finding.what)
        if finding.remedy:
            table.add_row("", Text(f"→ {finding.remedy}", style="dim"))
    if diagnosis.findings:
        console.print(table)
    counts = Counter(finding.severity for finding in diagnosis.findings)
    if not counts[PROBLEM]:
        told = (f"{counts[kind]} {kind}{'s' * (counts[kind] != 1)}" for kind in (WARNING, NOTE))
        console.print(f"{name} keeps its promises; {', '.join(told)}")
    if measured.episodes:
        console.print(
            f"random actions: {measured.random_success:.1%} of {measured.episodes} episodes reach their goal;\n"
            f"of their steps {measured.random_time_at_goal:.2%} are at it; {measured.faults} physics faults"
            + (f"; {measured.steps_per_second:,.0f} steps/s" if measured.steps_per_second > 0 else "")
        )


def print_envs(rows: list[dict[str, Any]]) -> None:
    """Print the environments as a table, and their settings below it."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("environment", no_wrap=True)
    for name in ("obs", "goal", "action", "steps"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what is to be done")
    for row in rows:
        sizes = [str(row[size]) for size in ("obs_dim", "goal_dim", "action_dim", "episode_length")]
        table.add_row(row["name"], *sizes, row["task"])
    console = new_console()
    console.print(table)
    console.print("obs, goal, action: numbers in each (of boxes: choices); steps: of an episode")
    console.print("and {point,ant}_<u…u5>_maze_gen_1f2f…: starts and goals 1, 2, … cells apart")
    console.print("and boxes_<rows>x<columns>_<boxes>[_test] of any size; _test: no box is in place")
    console.print("settings (--env-settings NAME=VALUE …), with their defaults:")
    kinds: dict[str, list[str]] = {}
    for row in rows:
        settings = "  ".join(f"{name}={json.dumps(value)}" for name, value in row["settings"].items())
        kinds.setdefault(settings, []).append(row["name"])
    for settings, names in kinds.items():
        which = ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]} … {names[-1]}"
        console.print(f"  {which}: {settings}")
