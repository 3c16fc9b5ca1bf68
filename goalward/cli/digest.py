"""The command `digest`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro


@dataclass(frozen=True)
class Args:
    """Print a hash of all arrays of a run's latest checkpoint, to compare runs by."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Print the hash of a run's latest checkpoint."""
    from goalward import checkpoint, runs

    runs.load_config(args.run)
    run = runs.load_meta(args.run).id

    def digest(saved: checkpoint.Saved) -> dict[str, Any]:
        checkpoint.check_run(saved, run)
        value = checkpoint.digest_saved(saved)
        return {"iteration": saved.iteration, "digest": value, "threads": saved.state.get("threads")}

    found = checkpoint.read(runs.checkpoints(args.run), checkpoint.latest, digest)
    print(json.dumps(found) if args.json else found["digest"])
    if not args.json:  # what a comparison has to know
        print(f"iteration {found['iteration']}, {found['threads']} threads", file=sys.stderr)
