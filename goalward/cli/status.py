"""The command `status`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from goalward.cli.process import start_jax


@dataclass(frozen=True)
class Args:
    """Show where the runs of a sweep stand, whether it runs or not."""

    folder: tyro.conf.Positional[Path]
    """Folder of the sweep."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Print the table of a sweep, from its files."""
    start_jax("cpu")
    from goalward.lab import display, evidence
    from goalward.lab import folder as folders

    sweep = folders.load(args.folder)
    study, metric = sweep.study, folders.metric(sweep.study)
    trials = sweep.trials(args.folder)
    standings = [folders.standing(args.folder, trial, metric) for trial in trials]
    pairs = zip(trials, standings, strict=True)
    done = [trial for trial, standing in pairs if standing.state == "done"]
    damaged = {trial.name: why for trial in done if (why := evidence.refused(args.folder, trial))}
    running = folders.is_held(args.folder)
    if args.json:
        head = {"study": study.name, "scale": study.scale, "metric": metric, "running": running}
        print(json.dumps(head | display.as_json(standings) | {"damaged": damaged}))
        return
    display.print_table(standings, metric)
    for name, why in damaged.items():
        print(f"warning: {name} is done, but counts for nothing: {why}", file=sys.stderr)
    print(f"{study.name}, {study.scale}: {'a' if running else 'no'} sweep is running in {args.folder}")
