"""The command `curves`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Args:
    """Draw learning curves of runs, and print their first and last evaluations."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path = Path("curves.png")
    """Picture to write, such as .png, .pdf or .svg."""
    force: bool = False
    """Replace a picture that is there already."""
    json: bool = False
    """Print all evaluations as JSON, in place of the table."""


def run(args: Args) -> None:
    """Draw the curves and print the table."""
    from goalward.pictures import curves

    loaded = curves.load(args.runs)
    curves.draw(loaded, args.out, force=args.force)
    if args.json:
        pairs = zip(args.runs, loaded, strict=True)
        print(json.dumps([{"run": str(path), "evaluations": curve.rows} for path, curve in pairs]))
    else:
        print(curves.table(loaded))
    print(f"drawn: {args.out}", file=sys.stderr)  # the table may go to a file
