"""What a person sees of a sweep: a table of its runs, the ends of logs of those that failed, its cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from goalward.lab import folder as folders
from goalward.lab.costs import Cost, length
from goalward.lab.folder import Standing
from goalward.lab.launchers.local import Slot
from goalward.lab.sweep import View
from goalward.progress import busy, new_console

MOST_ROWS = 30  # above so many runs, a row of the table is all runs that differ in their seed alone
WIDTH = 1_000  # characters in a line, where it is not a terminal's
STATES = ("done", "running", "failed", "stopped", "waiting")
_STYLES = {"done": "green", "running": "cyan", "failed": "red", "stopped": "yellow", "waiting": "dim"}


def time_left(standings: Sequence[Standing], side_by_side: int) -> float | None:
    """Seconds until all runs are done, about; None while nothing is known.

    A run that has no rate yet takes as long as others of its settings, or else of the sweep, took on average.
    """
    known: dict[str, list[float]] = {}
    for one in standings:
        if one.left is not None:
            known.setdefault(_group(one.name), []).append(one.seconds + one.left)
    if not known:
        return None
    means = {group: sum(lengths) / len(lengths) for group, lengths in known.items()}
    usual = sum(means.values()) / len(means)
    left = [
        means.get(_group(one.name), usual) if one.left is None else one.left
        for one in standings
        if one.state != "failed"
    ]
    return max([sum(left) / max(1, side_by_side), *left], default=0.0)


def _group(name: str) -> str:
    """The name of a run without its seed, which comes last."""
    return name.rpartition("seed=")[0].rstrip(",")


def table(standings: Sequence[Standing], metric: str, side_by_side: int, height: int | None = None) -> Group:
    """All runs and the sums below; where they are many, those that run or failed, and a row for equal settings.

    Of more rows than `height`, those that run or failed come first, and the last ones are left out.
    """
    many = len(standings) > MOST_ROWS
    urgent = [one.state in ("running", "failed") for one in standings]
    rows = [_row(one) for one in standings]
    if many:
        rows = [*compress(rows, urgent), *_groups(standings)]
    elif height is not None and len(rows) > height:
        rows = [*compress(rows, urgent), *compress(rows, map(not_, urgent))]
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column("run", overflow="fold")
    for name in ("state", "progress", "score", "left"):
        grid.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for row in rows[:height]:
        grid.add_row(*row, style=_STYLES.get(row[1].split(" ")[-1], ""))
    if height is not None and len(rows) > height:
        grid.add_row("…", "", "", "", "")
    told = f"{summary(standings, side_by_side)}\nscore: {metric} of the last evaluation"
    return Group(grid, Text(told, style="bold"))


def _row(one: Standing) -> tuple[str, str, str, str, str]:
    score = "–" if one.score is None else f"{one.score:.3f}"
    left = "" if one.state in ("done", "failed") else "–" if one.left is None else _length(one.left)
    return one.name, one.state, f"{one.epoch}/{one.epochs}", score, left


def _groups(standings: Sequence[Standing]) -> Iterator[tuple[str, str, str, str, str]]:
    groups: dict[str, list[Standing]] = {}
    for one in standings:
        groups.setdefault(_group(one.name), []).append(one)
    for name, members in groups.items():
        states = Counter(one.state for one in members)
        scores = [one.score for one in members if one.score is not None]
        left = [one.left for one in members if one.state != "failed"]
        yield (
            f"{name}{',' if name else ''}seed=… × {len(members)}",
            ", ".join(f"{states[state]} {state}" for state in STATES if states[state]),
            f"{sum(one.epoch for one in members) / sum(one.epochs for one in members):.0%}",
            f"{sum(scores) / len(scores):.3f}" if scores else "–",
            "" if not any(left) else "–" if None in left else _length(sum(x for x in left if x)),
        )


def summary(standings: Sequence[Standing], side_by_side: int) -> str:
    """How many runs are in which state, and what time all of them take."""
    states = Counter(one.state for one in standings)
    told = [f"{states[state]} {state}" for state in STATES if states[state]]
    left = time_left(standings, side_by_side)
    if any(one.state not in ("done", "failed") for one in standings):
        told.append("time left not known yet" if left is None else f"about {_length(left)} left")
    return f"{counted(len(standings), 'run')}: {', '.join(told)}"


def counted(count: int, what: str) -> str:
    """So many of something, such as "1 run" or "2 runs"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _length(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def as_json(standings: Sequence[Standing]) -> dict[str, Any]:
    """The same as names and values."""
    side_by_side = _side_by_side(standings)
    states = Counter(one.state for one in standings)
    return {
        "runs": [one._asdict() for one in standings],
        "states": {state: states[state] for state in STATES},
        "seconds_left": time_left(standings, side_by_side),
    }


def print_table(standings: Sequence[Standing], metric: str) -> None:
    """Print where all runs stand, once."""
    _wide(new_console()).print(table(standings, metric, _side_by_side(standings)))


def _wide(screen: Console) -> Console:
    """A console that breaks no name in two where lines may be of any length, as in a file or a pipe."""
    if not screen.is_terminal:
        screen.width = WIDTH
    return screen


def _side_by_side(standings: Sequence[Standing]) -> int:
    return sum(one.state == "running" for one in standings)


@contextmanager
def live(metric: str) -> Iterator[View]:
    """Show a sweep while it runs: on a terminal one table with lines above it, elsewhere the lines alone."""
    screen = new_console()
    if not screen.is_terminal:
        yield View(lambda line: screen.print(line, soft_wrap=True), lambda *_: None)
        return
    with Live(console=screen, auto_refresh=False, vertical_overflow="ellipsis") as display:

        def show(standings: Sequence[Standing], side_by_side: int, stopping: bool) -> None:
            grid = table(standings, metric, side_by_side, height=max(1, screen.height - 6))
            said = ["stopping: runs save their state"] if stopping else []
            display.update(Group(grid, *said), refresh=True)

        # What is done is in the table; lines are for what else there is to know.
        yield View(lambda line: None if line.endswith(": started") else screen.print(line), show)


def print_failures(folder: Path, failed: Mapping[str, int]) -> None:
    """Print the ends of the logs of runs that failed."""
    screen = new_console(stderr=True)
    for name, code in failed.items():
        screen.print(
            f"\n{name} failed, exit code {code}; the end of {folders.log(folder, name)}:", soft_wrap=True
        )
        for line in folders.end_of_log(folder, name):
            screen.print(f"  {line}", soft_wrap=True)


@contextmanager
def measuring() -> Iterator[Callable[[str], None]]:
    """Say on a terminal which run is measured, beside a spinner on standard error."""
    with busy("measuring") as status:
        yield lambda name: status.update(f"measuring {name}: some ten seconds, more for deep networks")


def print_costs(costs: Sequence[Cost], number: int, slots: Sequence[Slot], room: int | None) -> None:
    """Print what the runs of a sweep will cost, one by one and together; fewer than `number` were measured."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column("run", no_wrap=True)
    for name in ("memory", "time"):
        grid.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        grid.add_row(cost.name, f"{cost.memory / 1e9:.2f} GB", _length(cost.seconds))
    together, cores = length(costs, len(slots), room), len(slots[0].cores)
    total, measured = sum(cost.seconds for cost in costs), len({cost.settings for cost in costs})
    screen = _wide(new_console())
    screen.print(grid)
    screen.print(
        f"{len(costs)} of {number} runs: {_length(total)} of training in all; {len(slots)} side by side, "
        f"{counted(cores, 'core')} each: about {_length(together)}",
        f"times are from short measurements of {counted(measured, 'setting')} on a machine as busy as now; "
        "seeds share them",
        "memory is an upper estimate" + ("" if room is None else f"; {room / 1e9:.2f} GB may be used"),
        sep="\n",
        soft_wrap=True,
    )
